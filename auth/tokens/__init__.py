"""The access token, the refresh token, both as a pair, and the rotation of the refresh token."""
