"""Bonds over time: a device that was bonded is believed only with that bond.

A bond that one side lost, and somebody who advertises under the address of a device of ours, look the same
from here: the encrypted link fails. Both are refused, said once, counted, and never paired again in silence:
either the configuration consents (`[pairing] remove_stale_bonds`), or somebody does at `edge-agent pair`.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

from device_drivers.profile import Bond, DeviceProfile, Passkey
from edge_agent.bond_doctor import Attempt, BondDoctor, LinkFailed, Sign, Verdict, sign_of
from edge_agent.home import Home
from edge_agent.pairing import KnownDevice
from edge_agent.words import Language, say
from wire_format.errors import Misconfigured, Unreachable
from wire_format.statements import DeviceEventKind

_ASKED_OF_A_PERSON: Final = {Passkey.DEVICE_DISPLAY, Passkey.DEVICE_LABEL}


class BondStore(Protocol):
    """The bonds of this side, by identity address."""

    async def holds(self, address: str) -> bool:
        """Tell whether there is one. Raises `Unreachable`."""
        ...

    async def remove_bond(self, address: str) -> None:
        """Remove it. Raises `Unreachable`."""
        ...


@dataclass(slots=True)
class Bonds:
    """Decides about bonds, and says what became of them. `refused` counts visits that a bond forbade.

    `busy` counts the attempts in a row that the radio itself answered with "busy".
    """

    home: Home
    store: BondStore
    remove_stale: bool = False
    doctor: BondDoctor = field(default_factory=BondDoctor)
    refused: int = 0
    busy: int = 0

    async def admit(self, address: str, profile: DeviceProfile) -> bool:
        """Return whether this side holds a bond; refuse a device whose bond is gone, or needs a person.

        Raises `LinkFailed` (a bond is missing), `Misconfigured` (pair it first) and `Unreachable`.
        """
        if profile.link.bond is Bond.NEVER:
            return False
        device = self.home.devices.known.get(address)
        held = await self.store.holds(address)
        if held and profile.link.bond is Bond.PER_SESSION:
            await self.store.remove_bond(address)  # left behind by a visit that broke off
        elif held:
            return True
        if device is not None and device.bonded_at is not None and not device.may_bond:
            raise LinkFailed("The bond with this device is gone from the gateway.", Sign.BOND_MISSING)
        if profile.link.passkey in _ASKED_OF_A_PERSON:
            raise Misconfigured("This device shows a passkey: pair it with `edge-agent pair`.")
        return False

    def proved(self, device: KnownDevice) -> KnownDevice:
        """Note durably that both sides proved their keys; from now on nothing less is believed."""
        if device.bond_lost_at is not None:
            self.home.log.info("bond_works_again", device_id=device.identity.device_id)
        now = self.home.clock.now().utc
        bonded_at = device.bonded_at if device.bonded_at and not device.may_bond else now
        return self.home.devices.update(
            device.address, bonded_at=bonded_at, bond_lost_at=None, may_bond=False
        )

    def worked(self, device: KnownDevice, at: float, *, encrypted: bool) -> None:
        """Note a visit that did its work."""
        self.busy = 0
        if encrypted:
            self.proved(self.home.devices.known[device.address])
            self.doctor.note(device.address, Attempt(Sign.WORKED, at, held=True))

    async def failed(self, address: str, error: Exception, at: float, *, held: bool) -> Verdict:
        """Note a visit that failed; what follows from the verdict is said once."""
        attempt = Attempt(sign_of(error, held=held), at, held)
        self.busy = self.busy + 1 if attempt.sign is Sign.BUSY else 0
        verdict = self.doctor.note(address, attempt)
        device = self.home.devices.known.get(address)
        if verdict.is_lost and device is not None:
            self.refused += 1
            await self._lost(device, verdict)
        return verdict

    async def _lost(self, device: KnownDevice, verdict: Verdict) -> None:
        devices, log = self.home.devices, self.home.log
        if device.bond_lost_at is None:
            self.home.tell(device, DeviceEventKind.BOND_LOST, f"{verdict}: {say(verdict, Language.EN)}")
            devices.update(device.address, bond_lost_at=self.home.clock.now().utc)
            log.warning("bond_lost", device_id=device.identity.device_id, verdict=verdict, count=self.refused)
        if not self.remove_stale or device.may_bond:
            return
        try:
            await self.store.remove_bond(device.address)
        except Unreachable as error:
            log.warning("bond_not_removed", reason=str(error))
            return
        # Consent was given beforehand, in the configuration: the next visit exchanges keys anew.
        devices.update(device.address, may_bond=True)
        self.doctor.forget(device.address)
        log.warning("stale_bond_removed", device_id=device.identity.device_id)
