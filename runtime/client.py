"""The client whose request a thread answers, for modules that know no request.

A thread that answers no request, such as one of `background`, has no client.
"""

import threading

from runtime import addresses


class _Client(threading.local):
    """address: an IP address, or ""."""

    address = ""


current = _Client()


def current_network() -> str:
    """Return the network by which limits count the client of this thread, "" if there is none."""
    return addresses.network(current.address)
