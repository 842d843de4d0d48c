"""From what a packet says to a Measurement: when, which one, and where it came from."""

from collections.abc import Sequence
from typing import Final

from device_drivers.clock_sync import clock_zone
from device_drivers.decoded import Decoded
from device_drivers.decoding import DECODERS
from device_drivers.device_time import ClockComparison, Received, device_time, usable
from device_drivers.driver import GatewayTime, Visit
from device_drivers.profile import DeviceProfile
from wire_format.errors import Misconfigured
from wire_format.identity import clockless_id, derived_id, record_id, stated_id, undated_id
from wire_format.measurement import (
    DeviceTime,
    Measurement,
    Provenance,
    RawPacket,
    RecordKey,
    Remark,
)
from wire_format.statements import Undecodable

MAX_BATCH: Final = 50
"""Readings in one commit, at most."""


def decode_packet(visit: Visit, packet: RawPacket) -> Decoded:
    """Decode one packet as the profile says; raises `MalformedPacket`."""
    try:
        decoder = DECODERS[packet.source]
    except KeyError:
        raise Misconfigured(
            f"The profile {visit.profile.name} reads {packet.source}, which has no decoder."
        ) from None
    return decoder(packet.data, visit.profile.decode)


def measurement(  # noqa: PLR0913, PLR0917 - what a reading is made of
    visit: Visit,
    decoded: Decoded,
    raw: Sequence[RawPacket],
    at: GatewayTime,
    ordinal: int,
    comparison: ClockComparison | None = None,
    *,
    stored: bool = False,
) -> Measurement:
    """Return the measurement of a decoded packet (or of the packets that belong together).

    One that is `stored` came out of a memory, whenever it was taken: its arrival does not date it.
    """
    time, remarks = _time(visit, decoded, at, comparison, stored=stored)
    key = _record_key(decoded)
    kept = (*decoded.remarks, *remarks, *((Remark.STORED_RECORD,) if stored else ()))
    device, quantity = visit.device.device_id, decoded.quantity
    if key is not None:
        identity = record_id(device, quantity, key)
    elif time.stated is not None:
        identity = stated_id(device, quantity, time.stated, decoded.user, decoded.components)
    elif stored:
        digits = None if decoded.stamp is None else decoded.stamp.text
        identity = undated_id(device, quantity, digits, decoded.user, decoded.components)
    else:
        identity = clockless_id(device, quantity, visit.boot_id, visit.number, ordinal, raw)
    return Measurement(
        measurement_id=identity,
        quantity=quantity,
        device=visit.device,
        components=decoded.components,
        context=decoded.context,
        user=decoded.user,
        failure=decoded.failure,
        record=key,
        remarks=tuple(dict.fromkeys(kept)),
        time=time,
        provenance=provenance(visit, raw, ordinal),
    )


def undecodable(  # noqa: PLR0913 - what is known of bytes that say nothing
    visit: Visit, packet: RawPacket, reason: str, at: GatewayTime, ordinal: int, *, stored: bool = False
) -> Undecodable:
    """Return bytes that no decoder understands, to be kept until one does.

    `stored` ones lie in the device's memory and come again at each visit: they are the same each time.
    """
    time, _ = device_time(visit.profile, _received(at), visit.boot_id, visit.zone_offset_minutes, stamp=None)
    visited = () if stored else (visit.boot_id, visit.number, ordinal)
    return Undecodable(
        item_id=derived_id("undecodable", visit.device.device_id, *visited, packet),
        device=visit.device,
        profile=visit.profile.name,
        raw=packet,
        reason=reason,
        time=time,
    )


def provenance(visit: Visit, raw: Sequence[RawPacket], ordinal: int) -> Provenance:
    """Return where a reading came from."""
    return Provenance(
        gateway=visit.gateway,
        software=visit.software,
        driver=visit.profile.driver,
        profile=visit.profile.name,
        profile_hash=visit.profile.content_hash,
        firmware=visit.firmware,
        visit=visit.number,
        ordinal=ordinal,
        raw=tuple(raw),
    )


def _received(at: GatewayTime) -> Received:
    return Received(at.utc, at.uncertainty_ms, at.monotonic_ns)


def _time(
    visit: Visit, decoded: Decoded, at: GatewayTime, comparison: ClockComparison | None, *, stored: bool
) -> tuple[DeviceTime, tuple[Remark, ...]]:
    said = None if decoded.stamp is None else decoded.stamp.zone_minutes
    return device_time(
        _undelayed(visit.profile) if stored else visit.profile,
        _received(at),
        visit.boot_id,
        clock_zone(visit) if said is None else said,
        stamp=decoded.stamp,
        offset_minutes=decoded.offset_minutes,
        comparison=comparison if usable(decoded.stamp, visit.profile) else None,
        live_within_s=decoded.live_within_s,
    )


def _undelayed(profile: DeviceProfile) -> DeviceProfile:
    """Return a profile that says nothing of how soon a reading is sent."""
    if profile.records.push_delay_s is None:
        return profile
    records = profile.records.model_copy(update={"push_delay_s": None})
    return profile.model_copy(update={"records": records})


def _record_key(decoded: Decoded) -> RecordKey | None:
    if decoded.sequence is None or decoded.stamp is None:
        return None
    return RecordKey(sequence=decoded.sequence, base_time=decoded.stamp.text)
