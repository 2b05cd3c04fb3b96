"""The threads that wait for a place, in the order in which they get one: fair between networks."""

import threading
from collections import OrderedDict, deque


class Full(Exception):
    """The greatest allowed number of threads waits already."""


class Turn:
    """A waiting thread. It blocks on `lock`, which is locked. place: what it was given."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.lock = threading.Lock()
        self.lock.acquire()
        self.place: int | None = None


class FairQueue:
    """At most `max_waiting` turns, half of them (at least one) of the same network.

    A place goes to the networks in turn (round robin), and within a network to the thread that has waited
    longest. So the first request of a network waits for at most one turn of each other network. Turns without
    a network ("") count as one network, which may fill the queue.

    The caller holds a lock during each call.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._max_of_network = max(1, max_waiting // 2)
        self._length = 0
        self._turns: OrderedDict[str, deque[Turn]] = OrderedDict()  # networks without a turn are not in it

    def __len__(self) -> int:
        return self._length

    def add(self, network: str, *, extra: int = 0) -> Turn:
        """Return a new turn, behind those of the network. Raises Full.

        extra: added to both bounds, that of the queue and that of a network.
        """
        turns = self._turns.get(network) or deque()
        is_network_full = network and len(turns) >= self._max_of_network + extra
        if is_network_full or self._length >= self._max_waiting + extra:
            raise Full
        turn = Turn(network)
        turns.append(turn)
        self._turns[network] = turns
        self._length += 1
        return turn

    def first(self) -> Turn | None:
        """Return the next turn, and leave it in the queue. Returns None if nobody waits."""
        return next(iter(self._turns.values()))[0] if self._turns else None

    def pop(self) -> Turn:
        """Remove the next turn and return it. Somebody waits."""
        network, turns = self._turns.popitem(last=False)
        turn = turns.popleft()
        self._length -= 1
        if turns:
            self._turns[network] = turns  # behind the other networks
        return turn

    def remove(self, turn: Turn) -> bool:
        """Remove a turn whose thread gives up; return whether it was waiting still."""
        turns = self._turns.get(turn.network)
        if turns is None or turn not in turns:
            return False
        turns.remove(turn)
        self._length -= 1
        if not turns:
            del self._turns[turn.network]
        return True
