"""Which profile fits what was seen, and which driver a profile names. Two equal matches are an error."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

from device_drivers.driver import Driver
from device_drivers.drivers.gatt_push import GattPush
from device_drivers.drivers.gatt_racp import GattRacp
from device_drivers.link import Sighting
from device_drivers.profile import DeviceProfile, load_profiles, long_uuid
from wire_format.errors import Misconfigured

DRIVERS: Final[Mapping[str, Driver]] = {
    "gatt_push": GattPush(),
    "gatt_racp": GattRacp(),
}


class Catalogue:
    """The profiles of one gateway, checked against the drivers that exist."""

    def __init__(self, profiles: Mapping[str, DeviceProfile] | None = None) -> None:
        self.profiles = dict(load_profiles() if profiles is None else profiles)
        for profile in self.profiles.values():
            driver_of(profile)

    def named(self, name: str) -> DeviceProfile:
        """Return a profile by name; raises `Misconfigured` with the names there are."""
        try:
            return self.profiles[name]
        except KeyError:
            known = ", ".join(sorted(self.profiles))
            raise Misconfigured(f"There is no device profile {name!r}. There are: {known}.") from None

    def match(self, sighting: Sighting) -> DeviceProfile | None:
        """Return the profile that fits best, or None if none does.

        A profile that names the model beats one that asks for services only. Raises `Misconfigured` if two
        fit equally well: reading a device in the wrong way is worse than not reading it.
        """
        fits = [(rank(profile, sighting), profile) for profile in self.profiles.values()]
        best = max((score for score, _ in fits), default=0)
        winners = [profile for score, profile in fits if score == best and score > 0]
        if len(winners) > 1:
            names = ", ".join(_names(winners))
            raise Misconfigured(f"The device {sighting.name!r} fits {names} alike: make one match narrower.")
        return winners[0] if winners else None


def rank(profile: DeviceProfile, sighting: Sighting) -> int:
    """Return 0 if the profile does not fit, else how narrowly it does."""
    services = {long_uuid(name) for name in profile.match.services}
    if not services <= sighting.services:
        return 0
    if not profile.match.names:
        return len(services)
    name = sighting.name or ""
    return 100 + len(services) if any(fnmatchcase(name, glob) for glob in profile.match.names) else 0


def driver_of(profile: DeviceProfile) -> Driver:
    """Return the driver that a profile names."""
    try:
        return DRIVERS[profile.driver]
    except KeyError:
        known = ", ".join(sorted(DRIVERS))
        raise Misconfigured(
            f"The profile {profile.name} names the driver {profile.driver!r}. There are: {known}."
        ) from None


def _names(profiles: Iterable[DeviceProfile]) -> list[str]:
    return sorted(profile.name for profile in profiles)
