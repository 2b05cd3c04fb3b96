"""One module per feature; each registers its routes on the auth blueprint."""

from auth.features import account, profile, sessions

__all__ = ["account", "profile", "sessions"]
