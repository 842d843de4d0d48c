"""Passkeys: what a pairing may ask of a person, and who answers. No radio is known here.

A pairing names the capability that the gateway claims towards the device (Core Vol 3 Part H 2.3.5.1): it
decides which of the questions below the device's stack asks.
"""

from dataclasses import dataclass, field
from typing import Final, Protocol

from device_drivers.profile import AgentCapability, Link
from wire_format.errors import Misconfigured

MAX_PASSKEY: Final = 999_999


class PasskeySource(Protocol):
    """Whoever stands before the device while it is paired. None, or False, ends the pairing."""

    async def passkey(self) -> int | None:
        """Return the six digits that the device shows, or that are printed on it."""
        ...

    async def same(self, shown: int) -> bool:
        """Tell whether the device shows the same six digits (numeric comparison)."""
        ...

    async def show(self, passkey: int) -> None:
        """Show six digits that are to be typed on the device."""
        ...


class NobodyThere:
    """Without a person nothing can be typed, compared or shown: pairings that need it fail."""

    async def passkey(self) -> int | None:
        """Know none."""
        return None

    async def same(self, shown: int) -> bool:
        """Compare nothing."""
        del shown
        return False

    async def show(self, passkey: int) -> None:
        """Show it to nobody."""


@dataclass(frozen=True, slots=True)
class FixedPasskey(NobodyThere):
    """The passkey that every device of a model has, or that an installer gave beforehand."""

    digits: int

    async def passkey(self) -> int | None:
        """Return it."""
        return self.digits


@dataclass(frozen=True, slots=True)
class PairingTerms:
    """What is claimed towards a device while it is paired, who answers, and how long they may take."""

    capability: AgentCapability = AgentCapability.NO_INPUT_NO_OUTPUT
    source: PasskeySource = field(default_factory=NobodyThere)
    answer_s: float = 60.0


def terms_of(link: Link, source: PasskeySource | None = None) -> PairingTerms:
    """Return the terms that a profile asks for; a fixed passkey needs nobody, others need `source`."""
    fixed = None if link.fixed_passkey is None else FixedPasskey(link.fixed_passkey)
    return PairingTerms(link.agent, fixed or source or NobodyThere())


def parse_passkey(text: str) -> int:
    """Return the passkey of what a person typed, spaces allowed; raises `Misconfigured`."""
    digits = text.replace(" ", "")
    if not digits.isdecimal() or not digits.isascii() or int(digits) > MAX_PASSKEY:
        raise Misconfigured("A passkey has up to six digits, as the device shows them: write 012345.")
    return int(digits)
