"""What a radio's host keeps beside the connections: the bonds, and who answers when one is made.

Linux's is BlueZ (`bluez_host`); a virtual radio brings its own. The agent's other parts know only this.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from edge_agent.passkeys import PairingTerms


class RadioHost(Protocol):
    """The bonds of this side. Addresses are identity addresses in upper case."""

    async def holds(self, address: str) -> bool:
        """Tell whether this side holds a bond with a device. Raises `Unreachable`."""
        ...

    async def remove(self, address: str) -> None:
        """Remove the bond with a device; no bond is no error. Raises `Unreachable`."""
        ...

    def drops(self, address: str) -> int:
        """Return how many connections with a device ended so far.

        More after a failed attempt than before it: it was reached and dropped, not out of reach.
        """
        ...

    def expecting(self, address: str, terms: PairingTerms) -> AbstractAsyncContextManager[None]:
        """Answer meanwhile for this device on these terms, and for no other. Raises `Unreachable`."""
        ...
