"""Device Information Service (0x180A): what a device says about itself, as sent, without NULs."""

from dataclasses import dataclass
from typing import Final

from device_drivers.link import AttError, GattLink, uuid16
from device_drivers.profile import Asking, Link
from wire_format.measurement import DeviceIdentity

MANUFACTURER: Final = uuid16(0x2A29)
MODEL: Final = uuid16(0x2A24)
SERIAL: Final = uuid16(0x2A25)
FIRMWARE: Final = uuid16(0x2A26)
SYSTEM_ID: Final = uuid16(0x2A23)
_SYSTEM_ID_BYTES: Final = 8
_MAX_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class Information:
    """None where the device has no such characteristic, or refuses it. `system_id` is EUI-64 in hex."""

    manufacturer: str | None
    model: str | None
    serial: str | None
    firmware: str | None
    system_id: str | None


NOTHING_SAID: Final = Information(None, None, None, None, None)
"""Of a device that was never asked."""


async def ask_information(link: GattLink, manners: Link, known: DeviceIdentity | None) -> Information:
    """Read what there is, or return what is known where the profile wants it asked but once."""
    if known is None or manners.ask_what_it_is is Asking.EACH_VISIT:
        return await read_information(link)
    return remembered(known)


def remembered(known: DeviceIdentity) -> Information:
    """Return what a device said of itself when it was first met; its firmware may be another by now."""
    return Information(known.maker, known.model, known.serial, None, known.system_id)


async def read_information(link: GattLink) -> Information:
    """Read what there is. Raises `LinkLost` only."""
    system = await _value(link, SYSTEM_ID)
    # On the wire the least significant octet comes first.
    identity = system[::-1].hex() if system and len(system) == _SYSTEM_ID_BYTES else None
    texts = [await _text(link, uuid) for uuid in (MANUFACTURER, MODEL, SERIAL, FIRMWARE)]
    return Information(texts[0], texts[1], texts[2], texts[3], identity)


async def _value(link: GattLink, uuid: str) -> bytes | None:
    if uuid not in link.characteristics():
        return None
    try:
        return await link.read(uuid)
    except AttError:
        return None


async def _text(link: GattLink, uuid: str) -> str | None:
    """Return a string; None if the device does not say it, or says what nobody can read."""
    value = await _value(link, uuid)
    try:
        said = "" if value is None else value.decode().strip("\0 ")
    except UnicodeDecodeError:
        return None
    return said[:_MAX_TEXT] if said and said.isprintable() else None
