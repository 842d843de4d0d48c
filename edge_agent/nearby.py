"""What is on the air now, whoever's it is: what an installer may choose from. Nothing of it is kept."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from device_drivers.link import Sighting

FRESH_S: Final = 30.0
MAX_HEARD: Final = 200
_WEIGHT: Final = 0.3


class Distance(StrEnum):
    """How near a device seems. Walls and bodies weaken a signal as much as metres do."""

    VERY_NEAR = "very_near"
    NEAR = "near"
    FAR = "far"
    TOO_FAR = "too_far"  # heard, but a transfer would hardly last
    UNKNOWN = "unknown"


_FROM_DBM: Final = ((-55, Distance.VERY_NEAR), (-70, Distance.NEAR), (-85, Distance.FAR))


def distance(rssi: float | None) -> Distance:
    """Return how near a device is by its signal strength in dBm."""
    if rssi is None:
        return Distance.UNKNOWN
    return next((word for least, word in _FROM_DBM if rssi >= least), Distance.TOO_FAR)


@dataclass(slots=True)
class Heard:
    """One device on the air. `rssi` is smoothed, in dBm; `at` is monotonic seconds."""

    sighting: Sighting
    handle: object
    at: float
    rssi: float | None

    @property
    def distance(self) -> Distance:
        """How near it is."""
        return distance(self.rssi)


@dataclass(slots=True)
class Nearby:
    """The latest advertisement of each device, bounded."""

    monotonic: Callable[[], float] = time.monotonic
    _heard: dict[str, Heard] = field(default_factory=dict)

    def heard(self, sighting: Sighting, handle: object) -> None:
        """Take an advertisement; quick, and never raises."""
        now, before = self.monotonic(), self._heard.pop(sighting.address, None)
        rssi: float | None = sighting.rssi
        if before is not None and before.rssi is not None and rssi is not None:
            rssi = before.rssi + _WEIGHT * (rssi - before.rssi)
        self._heard[sighting.address] = Heard(sighting, handle, now, rssi)
        if len(self._heard) > MAX_HEARD:
            del self._heard[next(iter(self._heard))]  # the one that was heard longest ago

    def now(self) -> list[Heard]:
        """Return what was heard lately, the nearest first."""
        since = self.monotonic() - FRESH_S
        fresh = [heard for heard in self._heard.values() if heard.at >= since]
        return sorted(fresh, key=lambda heard: (heard.rssi is None, -(heard.rssi or 0)))

    def forget(self, address: str) -> None:
        """Forget that a device was heard: what it was heard as is of no use any more."""
        self._heard.pop(address, None)

    def get(self, address: str, since: float) -> Heard | None:
        """Return a device if it was heard since then."""
        found = self._heard.get(address)
        return found if found is not None and found.at >= since else None
