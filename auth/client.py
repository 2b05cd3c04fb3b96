"""Where a request comes from, as far as sessions and limits need to know."""

from dataclasses import dataclass, field

from runtime import addresses


@dataclass(frozen=True)
class Client:
    """The sender of a request.

    ip: "" if it is unknown. device_cookie: as it was sent, "" without one. arrived_at: of time.monotonic().
    """

    ip: str
    user_agent: str
    device_cookie: str = field(default="", repr=False)
    arrived_at: float = 0.0

    def network(self) -> str:
        """Return the address that limits count by, "" if it is unknown."""
        return addresses.network(self.ip)
