"""Which profile fits what was seen, and which driver a profile names. Two equal matches are an error."""

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, TypeVar

from pydantic import BaseModel

from device_drivers.clock_layouts import CLOCK_LAYOUTS
from device_drivers.driver import AdvertDriver, AnyDriver, Driver, SerialDriver
from device_drivers.drivers.beurer_scale import BeurerScale
from device_drivers.drivers.gatt_push import GattPush
from device_drivers.drivers.gatt_racp import GattRacp
from device_drivers.drivers.microlife import Microlife
from device_drivers.drivers.omron_eeprom import OmronEeprom
from device_drivers.drivers.onetouch_ble import OneTouchBle
from device_drivers.drivers.serial_codefree import CodeFree
from device_drivers.drivers.serial_freestyle_lite import FreeStyleLite
from device_drivers.drivers.serial_freestyle_optium import FreeStyleOptium
from device_drivers.drivers.serial_taidoc import TaiDoc
from device_drivers.drivers.serial_ultra2 import Ultra2
from device_drivers.drivers.serial_ultraeasy import UltraEasy
from device_drivers.drivers.transtek_scale import TranstekScale
from device_drivers.drivers.weigh_in import MiScaleAdvert, MiScaleGatt
from device_drivers.drivers.xiaomi_s400 import XiaomiS400
from device_drivers.drivers.yonker import Yonker
from device_drivers.information import Information
from device_drivers.link import Sighting
from device_drivers.profile import DeviceProfile, load_profiles, long_uuid
from wire_format.errors import Misconfigured

D = TypeVar("D")

DRIVERS: Final[Mapping[str, Driver]] = {
    "gatt_push": GattPush(),
    "gatt_racp": GattRacp(),
    "omron_eeprom": OmronEeprom(),
    "microlife": Microlife(),
    "yonker": Yonker(),
    "beurer_scale": BeurerScale(),
    "mi_scale_gatt": MiScaleGatt(),
    "onetouch_ble": OneTouchBle(),
    "transtek_scale": TranstekScale(),
}
SERIAL_DRIVERS: Final[Mapping[str, SerialDriver]] = {
    "serial_ultra2": Ultra2(),
    "serial_ultraeasy": UltraEasy(),
    "serial_freestyle_lite": FreeStyleLite(),
    "serial_freestyle_optium": FreeStyleOptium(),
    "serial_codefree": CodeFree(),
    "serial_taidoc": TaiDoc(),
}
ADVERT_DRIVERS: Final[Mapping[str, AdvertDriver]] = {
    "mi_scale_advert": MiScaleAdvert(),
    "xiaomi_s400": XiaomiS400(),
}

_NAME: Final = 100
_CONNECTED: Final = 1000
"""Weights of what is narrower: a model or firmware beats any name, a name any number of services."""


class SwitchedOff(Misconfigured):
    """What is on would read a device wrongly, and the one `profile` that reads it rightly is off."""

    def __init__(self, profile: DeviceProfile) -> None:
        super().__init__(
            f"This device is read rightly only by the profile {profile.name}, which is off: name it in "
            "[profiles] enable."
        )
        self.profile = profile


class Catalogue:
    """The profiles of one gateway, checked against the drivers that exist.

    Profiles without evidence from a real device are left out, unless `enabled` names them.
    """

    def __init__(
        self, profiles: Mapping[str, DeviceProfile] | None = None, enabled: Collection[str] = ()
    ) -> None:
        self.profiles = dict(load_profiles() if profiles is None else profiles)
        for profile in self.profiles.values():
            check(profile)
        for name in enabled:
            self.named(name)
        self._enabled = frozenset(enabled)
        self.on = {n: p for n, p in self.profiles.items() if p.on_by_default or n in enabled}
        self._missed = [p for n, p in self.profiles.items() if p.match.exclusive and n not in self.on]

    def named(self, name: str) -> DeviceProfile:
        """Return a profile by name; raises `Misconfigured` with the names there are."""
        try:
            return self.profiles[name]
        except KeyError:
            known = ", ".join(sorted(self.profiles))
            raise Misconfigured(f"There is no device profile {name!r}. There are: {known}.") from None

    def match(self, sighting: Sighting, known: Information | None = None) -> DeviceProfile | None:
        """Return the profile that fits best, or None if none does.

        A profile that names the model beats one that asks for services only. `known` is what the device
        said of itself, now or at an earlier visit; without it profiles that ask for a model or a firmware do
        not fit, unless nothing else does and their way of connecting is the same (of those at least that the
        configuration names). Raises `Misconfigured` if two fit equally well, `SwitchedOff` if only one
        that is off would read the device rightly: reading it wrongly is worse than not reading it.
        """
        found = self._best(sighting, known)
        if found is None and known is None:
            unasked = [p for p in self.on.values() if p.match.needs_connection and on_air(p, sighting)]
            named = [p for p in unasked if p.name in self._enabled]
            return _alike(unasked) or _alike(named)
        return found

    def confirmed(self, sighting: Sighting, said: Information, guess: DeviceProfile) -> DeviceProfile:
        """Return the profile of a device that was connected to as `guess`, now that it said what it is.

        Raises `Misconfigured` if the guess was for other models and no profile fits this one.
        """
        found = self.match(sighting, said)
        if found is None and guess.match.needs_connection:
            raise Misconfigured(
                f"There is no profile for the model {said.model!r} with firmware {said.firmware!r}; "
                f"{guess.name} is for {', '.join(guess.match.models) or 'another firmware'}. It was not read."
            )
        return found or guess

    def _best(self, sighting: Sighting, known: Information | None) -> DeviceProfile | None:
        fits = [(rank(profile, sighting, known), profile) for profile in self.on.values()]
        found = _winner(fits, f"The device {sighting.name!r}")
        if found is not None:
            self._must_read_rightly(found, sighting, known)
        return found

    def _must_read_rightly(self, found: DeviceProfile, sighting: Sighting, known: Information | None) -> None:
        narrow = rank(found, sighting, known)
        for profile in self._missed:
            if rank(profile, sighting, known) > narrow:
                raise SwitchedOff(profile)

    def match_usb(self, usb_id: str) -> tuple[DeviceProfile, ...]:
        """Return every profile whose meters use this serial adapter, as "067b:2303".

        Adapters are shared by makers: which of them it is, the meter must be asked.
        """
        return tuple(p for p in self.on.values() if usb_id in p.match.usb)


def _alike(profiles: list[DeviceProfile]) -> DeviceProfile | None:
    """Return the first of profiles that connect in one way; None if there is none, or they differ."""
    return profiles[0] if len({p.link.model_dump_json() for p in profiles}) == 1 else None


def _winner(fits: list[tuple[int, DeviceProfile]], what: str) -> DeviceProfile | None:
    best = max((score for score, _ in fits), default=0)
    winners = [profile for score, profile in fits if score == best and score > 0]
    if len(winners) > 1:
        names = ", ".join(_names(winners))
        raise Misconfigured(f"{what} fits {names} alike: make one match narrower.")
    return winners[0] if winners else None


def on_air(profile: DeviceProfile, sighting: Sighting) -> int:
    """Return 0 if the profile does not fit an advertisement, else how narrowly it does."""
    match = profile.match
    services = {long_uuid(name) for name in match.services}
    data = {long_uuid(name) for name in match.service_data}
    fits = services <= sighting.services and data <= set(sighting.service_data) and not match.usb
    if not fits or (match.company is not None and match.company not in sighting.manufacturer_data):
        return 0
    named = any(fnmatchcase(sighting.name or "", glob) for glob in match.names)
    if match.names and not named:
        return 0
    # A vendor that puts data beside a service says more of itself than one that names the service.
    return len(services) + 2 * len(data) + (match.company is not None) + (_NAME if named else 0)


def rank(profile: DeviceProfile, sighting: Sighting, known: Information | None = None) -> int:
    """Return 0 if the profile does not fit a device, else how narrowly it does."""
    narrow, match = on_air(profile, sighting), profile.match
    if not narrow or not match.needs_connection:
        return narrow
    if known is None or (match.models and not any(fnmatchcase(known.model or "", g) for g in match.models)):
        return 0
    if match.firmware is not None and not match.firmware.holds(known.firmware):
        return 0
    return narrow + _CONNECTED * (bool(match.models) + (match.firmware is not None))


def driver_of(profile: DeviceProfile) -> Driver:
    """Return the driver that a profile of a connected Bluetooth device names."""
    return _row(profile, DRIVERS, "a connected Bluetooth device")


def serial_driver_of(profile: DeviceProfile) -> SerialDriver:
    """Return the driver that a profile of a meter on a cable names."""
    return _row(profile, SERIAL_DRIVERS, "a meter on a serial cable")


def advert_driver_of(profile: DeviceProfile) -> AdvertDriver:
    """Return the driver that a profile of an advertising device names."""
    return _row(profile, ADVERT_DRIVERS, "a device that is never connected")


def any_driver_of(profile: DeviceProfile) -> AnyDriver:
    """Return the driver that a profile names, whatever its link."""
    every: dict[str, AnyDriver] = {**DRIVERS, **SERIAL_DRIVERS, **ADVERT_DRIVERS}
    return _row(profile, every, "any device")


def _row(profile: DeviceProfile, rows: Mapping[str, D], what: str) -> D:
    try:
        return rows[profile.driver]
    except KeyError:
        known = ", ".join(sorted(rows))
        raise Misconfigured(
            f"The profile {profile.name} names the driver {profile.driver!r} for {what}. There are: {known}."
        ) from None


def check(profile: DeviceProfile) -> None:
    """Raise `Misconfigured` if a profile names a driver, a clock layout or a protocol that does not exist."""
    driver = any_driver_of(profile)
    if profile.clock.layout not in CLOCK_LAYOUTS:
        known = ", ".join(sorted(CLOCK_LAYOUTS))
        raise Misconfigured(
            f"The profile {profile.name} names the clock layout {profile.clock.layout!r}. There are: {known}."
        )
    shape: type[BaseModel] | None = getattr(driver, "protocol", None)
    if shape is None and profile.protocol:
        raise Misconfigured(
            f"The profile {profile.name} has a [protocol], which {profile.driver} does not take."
        )
    if shape is not None:
        profile.protocol_as(shape)


def _names(profiles: Iterable[DeviceProfile]) -> list[str]:
    return sorted(profile.name for profile in profiles)
