"""How a virtual device pairs: without asking, with digits on its display, or with digits typed on it.

A passkey proves who stands before both devices. A device that has one therefore refuses to pair with a side
that could neither show nor type it (Core Vol 3 Part H 2.3.5.1, "authentication requirements").
"""

import asyncio
from typing import Final, Literal

from bumble.pairing import PairingConfig, PairingDelegate

Pairing = Literal["just_works", "passkey_display", "passkey_entry"]
"""`passkey_display`: the device shows its passkey. `passkey_entry`: it asks for what the other side shows."""

_CAPABILITY: Final[dict[Pairing, PairingDelegate.IoCapability]] = {
    "just_works": PairingDelegate.NO_OUTPUT_NO_INPUT,
    "passkey_display": PairingDelegate.DISPLAY_OUTPUT_ONLY,
    "passkey_entry": PairingDelegate.KEYBOARD_INPUT_ONLY,
}


class Panel(PairingDelegate):
    """The device's display or keys. `passkey` is what is shown, or typed; 0: somebody types it later."""

    def __init__(self, pairing: Pairing, passkey: int = 0) -> None:
        super().__init__(_CAPABILITY[pairing])
        self.pairing = pairing
        self.passkey = passkey
        self._typed: asyncio.Queue[int] = asyncio.Queue()

    def type_passkey(self, digits: int) -> None:
        """Type digits, as a person does who reads them on the other side."""
        self._typed.put_nowait(digits)

    async def generate_passkey(self) -> int:
        """Return what the device shows."""
        return self.passkey

    async def get_number(self) -> int | None:
        """Return what was typed; the other side's patience ends it (30 s, Core Vol 3 Part H 3.4)."""
        return self.passkey or await self._typed.get()

    async def confirm(self, auto: bool = False) -> bool:  # noqa: FBT001, FBT002 - Bumble's
        """Accept Just Works only if that is how this device pairs."""
        del auto
        return self.pairing == "just_works"

    def config(self) -> PairingConfig:
        """Return what Bumble pairs by."""
        proven = self.pairing != "just_works"
        return PairingConfig(sc=True, mitm=proven, bonding=True, delegate=self)
