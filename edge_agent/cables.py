"""Which serial cables are plugged in, whose they are, and which meters may be on them."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from device_drivers.catalogue import SERIAL_DRIVERS, Catalogue, serial_driver_of
from device_drivers.profile import DeviceProfile
from edge_agent.config import CableSection
from edge_agent.serial_link import Port, mark_of, usb_ports
from wire_format.errors import Misconfigured


@dataclass(frozen=True, slots=True)
class Cable:
    """A cable that is plugged in. `sections` are those of the configuration that mean it; none if adopted."""

    port: Port
    key: str
    sections: tuple[CableSection, ...]
    profiles: tuple[DeviceProfile, ...]


@dataclass(frozen=True, slots=True)
class Cables:
    """Finds the cables of this home. `adopting` takes those that nobody named, too."""

    named: tuple[CableSection, ...]
    catalogue: Catalogue
    adopting: bool
    adapters: Callable[[], Sequence[Port]] = usb_ports

    def __post_init__(self) -> None:
        """Raise `Misconfigured` for a cable that no meter could be read on."""
        for section in self.named:
            if section.profile is not None:
                serial_driver_of(self.catalogue.named(section.profile))
            elif not self._fitting(section.usb):
                raise Misconfigured(
                    f"No enabled profile fits the cable {section.key}: write its profile, as "
                    '"lifescan/onetouch_ultra2", or enable profiles under [profiles].'
                )

    def plugged_in(self) -> list[Cable]:
        """Return the cables that are there now, each once. Looks at files: call it in a thread."""
        adapters = list(self.adapters())
        usb = {os.path.realpath(port.path): port for port in adapters}
        found: dict[str, Cable] = {}
        for path in dict.fromkeys(s.port for s in self.named if s.port is not None):
            mark, real = mark_of(path), os.path.realpath(path)
            if mark is not None:
                behind = usb.get(real)
                port = Port(path, mark, None if behind is None else behind.usb)
                found[real] = self._cable(port, [s for s in self.named if s.port == path])
        for real, port in usb.items():
            sections = self._meaning(port)
            if real not in found and (sections or (self.adopting and self._fitting(port.usb))):
                found[real] = self._cable(port, sections)
        return list(found.values())

    def _meaning(self, port: Port) -> list[CableSection]:
        """Return the sections that mean an adapter: those with its location before those without one."""
        alike = [s for s in self.named if s.usb is not None and s.usb == port.usb]
        exact = [s for s in alike if s.location is not None and s.location == port.location]
        return exact or [s for s in alike if s.location is None]

    def _cable(self, port: Port, sections: Sequence[CableSection]) -> Cable:
        names = dict.fromkeys(s.profile for s in sections if s.profile is not None)
        profiles = tuple(self.catalogue.named(name) for name in names) or self._fitting(port.usb)
        # An adapter that the configuration does not tell apart is known by what it says of itself.
        alone = sections[0].port or sections[0].location if sections else None
        key = sections[0].key if alone else f"{port.usb}@{port.adapter}"
        return Cable(port, key, tuple(sections), profiles)

    def _fitting(self, usb: str | None) -> tuple[DeviceProfile, ...]:
        """Return the enabled profiles that may be behind an adapter: all of them where it is not known."""
        on = [p for p in self.catalogue.on.values() if p.driver in SERIAL_DRIVERS]
        return tuple(p for p in on if usb is None or usb in p.match.usb)
