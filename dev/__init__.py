"""For development and tests; never part of the image."""
