"""Writers of one process take turns, in the order in which they came.

SQLite lets one write at a time, and whoever finds it taken sleeps and tries again. A worker that writes
without a pause would nearly always be first again: what is delivered would wait behind what is coming in.
"""

import threading
from collections import deque


class Turns:
    """A lock that is handed on first come, first served."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def take(self, timeout_s: float) -> bool:
        """Wait for the turn; False if it did not come in time."""
        with self._mutex:
            if not self._taken:
                self._taken = True
                return True
            mine = threading.Event()
            self._waiting.append(mine)
        if mine.wait(timeout_s):
            return True
        with self._mutex:
            if mine.is_set():
                return True
            self._waiting.remove(mine)
            return False

    def give(self) -> None:
        """Hand the turn to whoever waits longest."""
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
