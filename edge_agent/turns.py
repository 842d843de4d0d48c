"""Turns: which device is connected to next. Pure: what was heard and `now` go in, a choice comes out.

Most devices advertise for some 30 s after a measurement and never otherwise, and the radio makes one
connection at a time; several devices may be read at once. So: first whoever was silent before, and of those
whoever falls silent first. A device that advertises all day waits, and never takes the last free link.
"""

from dataclasses import dataclass, field
from typing import Final

from device_drivers.link import Sighting
from device_drivers.profile import DeviceProfile
from wire_format.base import Utc

SILENCE_S: Final = 10.0
"""Not heard for so long while the radio listened: heard again, a device has begun to advertise anew."""

WINDOW_S: Final = 30.0
"""How long a device advertises after a measurement, until one of its windows was seen from begin to end."""

SHORTEST_WINDOW_S: Final = 2.0
"""What was heard for a shorter time was at the edge of reach: it says nothing about the device's habit."""

MAX_PLACES: Final = 1000
DEAF_S: Final = 5.0
LISTEN_S: Final = 1.0
"""After being deaf for so long in a row, for connections, the radio listens a while: others advertise too."""


@dataclass(slots=True)
class Wanted:
    """A device that should be visited. `handle` is what the scanner heard it as, latest."""

    sighting: Sighting
    handle: object
    profile: DeviceProfile


@dataclass(slots=True)
class Place:
    """What is remembered of one device between its visits. Times are monotonic seconds."""

    address: str
    visiting: bool = False
    fresh: bool = True  # it was silent before, and was not read since
    began: float = 0.0
    window_s: float = WINDOW_S
    last_heard: float = float("-inf")
    last_heard_listening: float = float("-inf")  # the same on a clock that stands while the radio is deaf
    rests_until: float = 0.0
    fruitless: int = 0
    failures: int = 0
    wanted: Wanted | None = None
    last_visit: Utc | None = None
    _visited: bool = False

    @property
    def urgency(self) -> tuple[bool, float]:
        """Smaller is sooner."""
        return (not self.fresh, self.began + self.window_s)

    def begins(self, now: float) -> None:
        """Note that it advertises anew; a window that was never interrupted tells how long it lasts."""
        seen = self.last_heard - self.began
        if seen >= SHORTEST_WINDOW_S and not self._visited:
            self.window_s = seen
        self.fresh, self.began, self._visited = True, now, False
        self.fruitless, self.rests_until = 0, now

    def visited(self) -> None:
        """Note that a visit began."""
        self.visiting, self._visited, self.wanted = True, True, None


@dataclass(slots=True)
class Turns:
    """The places of all devices, and how many links are open. `links` is how many may be."""

    links: int
    places: dict[str, Place] = field(default_factory=dict)
    open: int = 0
    connecting: bool = False
    _deaf_since: float = 0.0
    _deaf_before: float = 0.0
    _deaf_in_a_row: float = 0.0
    _listening_since: float = float("-inf")

    def heard(self, address: str, wanted: Wanted, now: float) -> Place:
        """Take an advertisement of a device of ours."""
        place = self.place(address)
        listening = self._listening_clock(now)
        if listening - place.last_heard_listening > SILENCE_S:
            place.begins(now)
        place.last_heard, place.last_heard_listening = now, listening
        if not place.visiting and now >= place.rests_until:
            place.wanted = wanted
        return place

    def next(self, now: float) -> Place | None:
        """Return whose turn it is; None if it is nobody's now."""
        if self.connecting or self.open >= self.links or self.listen_s(now) > 0:
            return None
        listening = self._listening_clock(now)
        for place in self.places.values():
            if listening - place.last_heard_listening > SILENCE_S:
                place.wanted = None  # it has fallen silent: a connection would wait in vain
        spare = self.links > 1 and self.open == self.links - 1
        waiting = [p for p in self.places.values() if p.wanted and not p.visiting and (p.fresh or not spare)]
        return min(waiting, key=lambda place: place.urgency, default=None)

    def listen_s(self, now: float) -> float:
        """Return how long the radio must listen before the next connection."""
        if self._deaf_in_a_row < DEAF_S:
            return 0.0
        return max(0.0, self._listening_since + LISTEN_S - now)

    def begin_connecting(self, now: float) -> None:
        """Note that the radio goes deaf for a connection, which takes one of the links."""
        if now - self._listening_since >= LISTEN_S:
            self._deaf_in_a_row = 0.0
        self.connecting, self._deaf_since = True, now
        self.open += 1

    def end_connecting(self, now: float) -> None:
        """Note that the radio listens again, whether the connection came about or not."""
        deaf = now - self._deaf_since
        self._deaf_before += deaf
        self._deaf_in_a_row += deaf
        self.connecting, self._listening_since = False, now

    def end(self, place: Place, now: float) -> None:
        """Note that a visit ended. While it was connected it could not advertise: that was no silence."""
        place.visiting = False
        place.last_heard = max(place.last_heard, now)
        place.last_heard_listening = max(place.last_heard_listening, self._listening_clock(now))

    def end_link(self) -> None:
        """Note that a link is free again."""
        self.open -= 1

    def place(self, address: str) -> Place:
        """Return the place of a device, new if need be; the oldest memories go when there are too many."""
        return self.places.get(address) or self._new_place(address)

    def _listening_clock(self, now: float) -> float:
        return (self._deaf_since if self.connecting else now) - self._deaf_before

    def _new_place(self, address: str) -> Place:
        if len(self.places) >= MAX_PLACES:
            self.places = {a: p for a, p in self.places.items() if p.visiting}
        return self.places.setdefault(address, Place(address))
