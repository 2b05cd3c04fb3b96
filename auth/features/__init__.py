"""The features: each registers its routes on the blueprint when it is imported.

A feature is one file or one folder, and can be deleted: nothing below imports a feature, and no feature
imports another.
"""

from auth.features import (
    admin,
    email_verification,
    feature_list,
    login,
    mail_admin,
    password,
    password_reset,
    profile,
    registration,
    sessions,
    two_factor,
)

__all__ = [
    "admin",
    "email_verification",
    "feature_list",
    "login",
    "mail_admin",
    "password",
    "password_reset",
    "profile",
    "registration",
    "sessions",
    "two_factor",
]
