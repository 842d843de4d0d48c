"""The other items of a payload: later statements about measurements, and what else a home has to say.

Statements are appended, never overwritten; what a clinician sees is the fold of them.
"""

from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import Field, model_validator

from wire_format.base import Utc, Wire
from wire_format.measurement import DeviceIdentity, DeviceTime, Instant, RawPacket


class Assignment(Wire):
    """Whose a measurement is. `person` is the home's pseudonym; None says "not known to be anybody's".

    `valid_from` and `valid_until` bound the pairing of person and device that the author relied on.
    """

    statement_id: UUID
    measurement_id: UUID
    person: str | None = None
    author: str
    stated_at: Utc
    reason: str
    valid_from: Utc | None = None
    valid_until: Utc | None = None


class Redating(Wire):
    """When something was taken, learned later: one measurement, or every one of a boot of the gateway.

    For a boot, `monotonic_ns` of that boot is the moment `moment`; readings follow by difference.
    """

    statement_id: UUID
    moment: Instant
    author: str
    stated_at: Utc
    reason: str
    measurement_id: UUID | None = None
    boot_id: UUID | None = None
    monotonic_ns: int | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        by_boot = self.boot_id is not None and self.monotonic_ns is not None
        if by_boot == (self.measurement_id is not None):
            raise ValueError("a re-dating speaks of one measurement, or of one boot with its monotonic clock")
        return self


class Undecodable(Wire):
    """Bytes of a device that no decoder understands. They travel and are kept: a later decoder may."""

    item_id: UUID
    device: DeviceIdentity
    profile: str
    raw: RawPacket
    reason: str
    time: DeviceTime


class DeviceEventKind(StrEnum):
    """What can happen to a device, beside measuring."""

    PAIRED = "paired"
    CLOCK_SET = "clock_set"
    CLOCK_REFUSED = "clock_refused"
    BATTERY_LOW = "battery_low"
    MEMORY_FULL = "memory_full"
    VISIT_FAILED = "visit_failed"
    BOND_LOST = "bond_lost"  # one side forgot the keys, or another device uses its address: refused
    RECORDS_RENUMBERED = "records_renumbered"  # fewer records, or a lower sequence, than were seen before
    CONSENT_REFUSED = "consent_refused"  # a user slot does not take the code that the home gave for it
    USERS_LOST = "users_lost"  # the device says that it has no users: its batteries were changed
    STREAM_THINNED = "stream_thinned"  # of a continuous stream only some readings were kept, as configured


class DeviceEvent(Wire):
    """Something of a device that a technician may need; never a health value."""

    event_id: UUID
    device: DeviceIdentity
    kind: DeviceEventKind
    at: Utc
    detail: str | None = Field(default=None, max_length=500)


class GatewayEventKind(StrEnum):
    """What can happen to a gateway."""

    STARTED = "started"
    OUTBOX_OPENED = "outbox_opened"  # a new outbox_id begins: new card, or a fork was reported
    OUTBOX_FULL = "outbox_full"
    TIME_LEARNED = "time_learned"
    ADAPTER_RESET = "adapter_reset"  # it did not listen any more, and was switched off and on
    ADAPTER_DEAD = "adapter_dead"  # it cannot be used, also after resets: no device is heard
    ADAPTER_BACK = "adapter_back"  # it listens again
    PROFILES_CHANGED = "profiles_changed"  # another bundle of device profiles is in use; detail says which
    PROFILES_REFUSED = "profiles_refused"  # a bundle is not used, the last good one is; detail says why


class GatewayEvent(Wire):
    """Something of the gateway that a technician may need; never a health value."""

    event_id: UUID
    kind: GatewayEventKind
    at: Utc
    boot_id: UUID
    detail: str | None = Field(default=None, max_length=500)
