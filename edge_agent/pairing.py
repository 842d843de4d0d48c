"""Which devices are ours, who they are, and who uses them. A neighbour's cuff is not touched.

The identity that is minted at the first visit is kept in a file of its own, outside of the outbox: it
outlives a failing outbox, and the outbox holds no address.
"""

import datetime as dt
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from device_drivers.information import Information
from device_drivers.profile import DeviceProfile
from edge_agent.assignment import Pairing
from edge_agent.config import Adoption, DeviceSection
from wire_format.base import Utc, Wire
from wire_format.errors import Misconfigured
from wire_format.identity import device_id
from wire_format.measurement import DeviceIdentity

UNSTATED: Final = "unstated"


class ConsentNeeded(Misconfigured):
    """There is a bond with this device already, or was one: keys are exchanged anew only with consent."""


class DeviceUser(Wire):
    """A person uses a device, or one of its user slots, since when."""

    person: str
    slot: int | None = None
    since: Utc
    until: Utc | None = None


class KnownDevice(Wire):
    """A device that was visited or paired. Its identity is fixed, also when it is forgotten and paired again.

    `adopted_at` is None if it was not adopted. `users` are those whom `edge-agent pair` named; the
    configuration may name others. `bonded_at` says that keys were exchanged: without that bond the device is
    not believed to be itself, unless `may_bond` says that somebody consented to exchange new ones.
    """

    address: str
    identity: DeviceIdentity
    adopted_at: Utc | None = None
    profile: str | None = None
    users: tuple[DeviceUser, ...] = ()
    bonded_at: Utc | None = None
    bond_lost_at: Utc | None = None
    may_bond: bool = False
    last_visit: Utc | None = None


_FILE: Final = TypeAdapter(tuple[KnownDevice, ...])


@dataclass(slots=True)
class Devices:
    """The devices of this home: those that the configuration names, those paired, and those adopted."""

    path: Path
    named: tuple[DeviceSection, ...]
    adoption: Adoption | None
    known: dict[str, KnownDevice]

    @classmethod
    def open(cls, path: Path, named: tuple[DeviceSection, ...], adoption: Adoption | None) -> "Devices":
        """Read the file of known devices, if there is one."""
        try:
            found = _FILE.validate_json(path.read_bytes()) if path.exists() else ()
        except (OSError, ValidationError) as error:
            raise Misconfigured(
                f"{path} cannot be read: restore it, or move it away and pair the devices again."
            ) from error
        return cls(path, named, adoption, {device.address: device for device in found})

    def is_ours(self, address: str) -> bool:
        """Tell whether a device may be visited: by its identity address, never by what it calls itself."""
        if self.adoption is not None or self.is_named(address):
            return True
        device = self.known.get(address)
        return device is not None and bool(device.users)

    def is_named(self, address: str) -> bool:
        """Tell whether the configuration names a device."""
        return any(device.address == address for device in self.named)

    def remember(self, device: KnownDevice) -> None:
        """Keep a device durably; one that is known keeps the identity it has."""
        self.known.setdefault(device.address, device)
        self._save()

    def update(self, address: str, **changes: object) -> KnownDevice:
        """Note durably what changed about a device, and return it as it is now."""
        changed = KnownDevice.model_validate({**self.known[address].__dict__, **changes})
        if changed != self.known[address]:
            self.known[address] = changed
            self._save()
        return changed

    def paired(self, address: str) -> KnownDevice:
        """Return a device that `edge-agent pair` put on the list; raises `Misconfigured` for any other."""
        if self.is_named(address):
            raise Misconfigured(f"{address} is named by the configuration: take out its [[device]] section.")
        device = self.known.get(address)
        if device is None or not device.users:
            raise Misconfigured(f"{address} is not paired here: see `edge-agent devices`.")
        return device

    def forget(self, device: KnownDevice) -> None:
        """Take a device off the list. Its identity stays, for the day when it is paired again."""
        self.update(device.address, users=(), bonded_at=None, bond_lost_at=None, may_bond=False)

    def users(self, address: str) -> list[DeviceUser]:
        """Return whom the configuration and `edge-agent pair` named for a device."""
        named = [
            DeviceUser(person=d.person, slot=d.slot, since=d.since, until=d.until)
            for d in self.named
            if d.address == address
        ]
        return [*named, *(self.known[address].users if address in self.known else ())]

    def pairings(self, device: KnownDevice) -> tuple[Pairing, ...]:
        """Return who uses a device, and when."""
        device_id, users = device.identity.device_id, self.users(device.address)
        if users:
            return tuple(Pairing(device_id, u.person, u.slot, u.since, u.until) for u in users)
        if self.adoption is None or device.adopted_at is None:
            return ()
        since: dt.datetime = self.adoption.since or device.adopted_at
        return (Pairing(device_id, self.adoption.person, None, since),)

    def _save(self) -> None:
        data = [json.loads(one.model_dump_json()) for one in self.known.values()]
        _replace(self.path, json.dumps(data, indent=1).encode())

    def consents(self, device: KnownDevice) -> dict[int, int]:
        """Return the codes of a device's user slots (User Data Service), by slot."""
        named = [d for d in self.named if d.address == device.address]
        return {d.slot: d.consent_code for d in named if d.slot is not None and d.consent_code is not None}

    def bind_key(self, device: KnownDevice) -> bytes | None:
        """Return the key that a device encrypts its advertisements with, if the configuration gives it."""
        keys = [d.bind_key for d in self.named if d.address == device.address and d.bind_key is not None]
        return bytes.fromhex(keys[0].get_secret_value()) if keys else None


def identity_of(said: Information, address: str, profile: DeviceProfile) -> DeviceIdentity:
    """Mint the identity of a device from what it says of itself (Device Information Service)."""
    maker = said.manufacturer or UNSTATED
    # Without a model number the kind of device still keeps two devices of one serial number apart.
    model = said.model or profile.name
    return DeviceIdentity(
        device_id=device_id(maker, model, said.serial, address),
        maker=maker,
        model=model,
        serial=said.serial,
        address=address,
        system_id=said.system_id,
    )


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that after a power cut either the old or the new one is there, whole."""
    beside = path.with_suffix(".new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
