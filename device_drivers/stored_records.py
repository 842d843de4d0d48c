"""Records out of a meter's memory: from what a driver decoded to durable batches of at most fifty.

A memory is read whole at each visit; what was sealed before is recognised by its identity. Hence the clock is
set only when everything is committed: a record that is still to come was stored under the old clock.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from device_drivers.clock_sync import clock_event, clock_zone, compared, must_be_set
from device_drivers.date_time import DateTime
from device_drivers.decoding import Decoded, judged
from device_drivers.device_time import RESOLUTION_MS, ClockComparison, local_digits
from device_drivers.driver import GatewayTime, Reading, Visit
from device_drivers.readings import MAX_BATCH, measurement, undecodable
from device_drivers.serial_dialogue import NoAnswer
from wire_format.errors import MalformedPacket, Rejected
from wire_format.measurement import RawPacket

SOURCE: Final = "serial"
MINUTE_MS: Final = 60_000
"""What a clock or a record without seconds counts in."""


@dataclass(slots=True)
class StoredRecords:
    """The records of one visit. Leaving the context commits what is held, also when the cable went.

    `lost` counts records that were damaged on their way: they lie in the meter still.
    """

    visit: Visit
    resolution_ms: int = RESOLUTION_MS
    comparison: ClockComparison | None = None
    lost: int = 0
    ordinal: int = 0
    _held: list[Reading] = field(default_factory=list)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.commit()

    def compare(self, shown: DateTime, before: GatewayTime) -> None:
        """Take what the meter's clock showed between `before` and now, for all records of this visit."""
        zone = clock_zone(self.visit)
        self.comparison = compared(shown, before, self.visit.now(), zone, self.resolution_ms)

    def record(self, decoded: Decoded, *data: bytes) -> None:
        """Take one record, decoded from `data`."""
        raw = [RawPacket(source=SOURCE, data=part) for part in data]
        whole = judged(decoded, self.visit.profile.decode)
        at = self.visit.now()
        self._hold(
            measurement(self.visit, whole, raw, at, self.ordinal, comparison=self.comparison, stored=True)
        )

    def strange(self, data: bytes, reason: str) -> None:
        """Keep a record that came whole and is of no known layout."""
        packet = RawPacket(source=SOURCE, data=data)
        self._hold(undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal, stored=True))

    def noise(self, data: bytes, reason: str) -> None:
        """Keep bytes that are no record: damaged, or unasked."""
        packet = RawPacket(source=SOURCE, data=data)
        self._hold(undecodable(self.visit, packet, reason, self.visit.now(), self.ordinal))

    def _hold(self, reading: Reading) -> None:
        self.ordinal += 1
        self._held.append(reading)
        if len(self._held) == MAX_BATCH:
            self.commit()

    def commit(self) -> None:
        """Make durable what is held."""
        batch, self._held = self._held, []
        if batch:
            self.visit.sink.commit(batch)

    def complete(self) -> None:
        """Commit; raises `MalformedPacket` if records were damaged, so that the meter is soon read again."""
        self.commit()
        if self.lost:
            raise MalformedPacket(
                f"{self.lost} records were damaged on the cable: they are read again at the next visit."
            )

    async def keep_clock(self, write: Callable[[datetime], Awaitable[DateTime]]) -> None:
        """Set the meter's clock if the profile wants it; `write` sets it, and returns what it shows then."""
        visit = self.visit
        if not must_be_set(visit, self.comparison):
            return
        before, zone = visit.now(), clock_zone(visit)
        detail: str | None = None
        try:
            shown = await write(local_digits(before.utc, zone))
        except (Rejected, NoAnswer) as error:
            kept, detail = False, str(error)
        else:
            found = compared(shown, before, visit.now(), zone)
            allowed_ms = visit.profile.clock.maximum_drift_s * 1000
            kept = found is not None and abs(found.offset_ms) <= allowed_ms
            detail = None if kept else "The device took the time and did not keep it."
        visit.sink.commit([clock_event(visit, before, kept=kept, detail=detail)])
