"""One module per feature; each registers its routes on the auth blueprint."""
