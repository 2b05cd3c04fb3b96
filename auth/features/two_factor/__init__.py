"""The second factor: its enrolment and its changes, and the second step of a login."""

from auth.features.two_factor import changes, enrolment, login

__all__ = ["changes", "enrolment", "login"]
