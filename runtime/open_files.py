"""The limit of open files, which is also a limit of connections."""

import resource


def raise_limit(file_count: int) -> int:
    """Let this process open `file_count` files, or as many as the system allows; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < file_count:
        soft = file_count if hard == resource.RLIM_INFINITY else min(file_count, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
