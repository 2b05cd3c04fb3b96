"""Numbers on which the worker and the routes agree."""

MAX_BODY_BYTES = 64 * 1024
RETRY_AFTER_SECONDS = 2  # in the header of every 503
