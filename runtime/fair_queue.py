"""The threads that wait for a place, in the order in which they get one: fair between networks."""

import threading
from collections import OrderedDict, deque

_Queues = OrderedDict[str, deque["Turn"]]


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
    longest. A network that begins to wait overtakes those that were served while they waited: so a single
    request waits for no turn of another network's storm. Starvation: between two turns of the overtaken, only
    as many overtake as waited at the first (at least one). Turns without a network ("") count as one network,
    which may fill the queue.

    The caller holds a lock during each call.
    """

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._max_of_network = max(1, max_waiting // 2)
        self._length = 0
        # Memory: a network without a waiting thread is in neither, for networks are without number.
        self._unserved: _Queues = OrderedDict()
        self._served: _Queues = OrderedDict()
        self._overtaken = 0  # how many turns of unserved networks came since the last turn of a served one
        self._may_overtake = 1

    def __len__(self) -> int:
        return self._length

    def add(self, network: str, *, extra: int = 0) -> Turn:
        """Return a new turn, behind those of the network. Raises Full.

        extra: how many turns may wait beyond max_waiting, of each network too.
        """
        queue = self._served.get(network) or self._unserved.get(network) or deque()
        is_network_full = network and len(queue) >= self._max_of_network + extra
        if is_network_full or self._length >= self._max_waiting + extra:
            raise Full
        if not queue:
            self._unserved[network] = queue
        turn = Turn(network)
        queue.append(turn)
        self._length += 1
        return turn

    def first(self) -> Turn | None:
        """Return the next turn, and leave it in the queue. Returns None if nobody waits."""
        return next(iter(self._next_queues().values()))[0] if self._length else None

    def pop(self) -> Turn:
        """Remove the next turn and return it. Somebody waits."""
        queues = self._next_queues()
        if queues is self._served:
            self._overtaken, self._may_overtake = 0, max(1, len(self._unserved))
        else:
            self._overtaken = self._overtaken + 1 if self._served else 0
        network, queue = queues.popitem(last=False)
        turn = queue.popleft()
        self._length -= 1
        if queue:
            self._served[network] = queue  # behind the others
        return turn

    def remove(self, turn: Turn) -> bool:
        """Remove a turn whose thread gives up; return whether it was waiting still."""
        for queues in (self._unserved, self._served):
            queue = queues.get(turn.network)
            if queue and turn in queue:
                queue.remove(turn)
                self._length -= 1
                if not queue:
                    del queues[turn.network]
                return True
        return False

    def _next_queues(self) -> _Queues:
        """Return the kind of networks of which the first is next."""
        if not self._unserved or self._overtaken * len(self._served) >= self._may_overtake:
            return self._served
        return self._unserved
