"""The limit of open files, which is also a limit of connections."""

import resource


def raise_limit(wanted: int) -> int:
    """Let this process open `wanted` files, or as many as the system allows; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
