"""The identity of a reading: the same record read twice, also after a clock correction, is the same one.

Four cases, after what the device can tell (docs/architecture.md, "Identity"):
record-keeping device: device, quantity and record key; device with a clock that numbers nothing: device,
quantity, its timestamp as given, and the values; a record out of a memory, neither numbered nor usably dated:
device, quantity, the digits as given, and the values; device without a usable clock that sends what it just
measured: device, boot, visit, ordinal and bytes.
"""

import datetime as dt
import hashlib
from collections.abc import Sequence
from typing import Final
from uuid import UUID, uuid5

from wire_format.base import plain
from wire_format.canonical import encode
from wire_format.measurement import Component, Measurement, RawPacket, RecordKey
from wire_format.nomenclature import Quantity

NAMESPACE: Final = UUID("5f0c7e5e-6d2b-5c41-9a57-6b6974656c69")
"""Root of every deterministic id of ours; changing it would file every reading twice."""


def derived_id(kind: str, *parts: object) -> UUID:
    """Return the UUIDv5 of `kind` over the deterministic encoding of `parts`.

    Hashing the encoding instead of joined text keeps ("a", "bc") apart from ("ab", "c").
    """
    return uuid5(NAMESPACE, encode([kind, *(plain(part) for part in parts)]).hex())


def device_id(maker: str, model: str, serial: str | None, address: str | None) -> UUID:
    """Return the id that pairing mints: by serial number, else by Bluetooth identity address."""
    by = ["serial", serial] if serial else ["address", address]
    return derived_id("device", maker, model, *by)


def record_id(device: UUID, quantity: Quantity, key: RecordKey) -> UUID:
    """Identity of a record that the device keeps and numbers."""
    return derived_id("record", device, quantity, key)


def stated_id(
    device: UUID, quantity: Quantity, stated: dt.datetime, user: int | None, values: Sequence[Component]
) -> UUID:
    """Identity of a reading that a device pushes with its own timestamp, as given."""
    return derived_id("stated", device, quantity, stated, user, tuple(values))


def undated_id(
    device: UUID, quantity: Quantity, digits: str | None, user: int | None, values: Sequence[Component]
) -> UUID:
    """Identity of a record that a device keeps without a number and without a usable time.

    It is read again at each visit, so that no visit may be part of it. `digits` are those of no calendar, or
    None if there are none.
    """
    return derived_id("undated", device, quantity, digits, user, tuple(values))


def clockless_id(  # noqa: PLR0913, PLR0917 - the identity has these parts
    device: UUID,
    quantity: Quantity,
    boot_id: UUID,
    visit: int,
    ordinal: int,
    raw: Sequence[RawPacket],
) -> UUID:
    """Identity of a reading without a usable clock: which visit brought which bytes."""
    return derived_id("clockless", device, quantity, boot_id, visit, ordinal, tuple(raw))


def content_hash(measurement: Measurement) -> bytes:
    """Return SHA-256 over what the device said, and nothing of how and when we came to read it.

    The same id with another hash is a revision (a meal mark added later), not a second reading.
    """
    said = [
        measurement.quantity,
        tuple(measurement.components),
        measurement.context,
        measurement.user,
        measurement.failure,
        measurement.record,
        measurement.time.stated,
    ]
    return hashlib.sha256(encode([plain(part) for part in said])).digest()
