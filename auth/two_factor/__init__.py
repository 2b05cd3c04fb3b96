"""The second factor of a user: codes of an authenticator app, and recovery codes."""
