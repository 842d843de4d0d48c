"""Linux's radio as one piece: the bus, our pairing agent, the keeper of the adapter."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from edge_agent.adapter_keeper import EVERY_S, OFF_S, AdapterKeeper, Load
from edge_agent.bluez_agent import PairingAgent
from edge_agent.bluez_bus import BluezBus
from edge_agent.passkeys import PairingTerms
from edge_agent.scanner import Scanner
from service_kit.log import Log
from wire_format.statements import GatewayEventKind


@dataclass(slots=True)
class BluezHost:
    """The `RadioHost` of BlueZ."""

    bus: BluezBus
    agent: PairingAgent
    every_s: float = EVERY_S
    off_s: float = OFF_S
    keeper: AdapterKeeper | None = None

    @classmethod
    def on_system_bus(cls, log: Log) -> "BluezHost":
        """Return one that speaks to the bluetoothd of this machine, once it runs."""
        bus = BluezBus(log)
        return cls(bus, PairingAgent(bus, log))

    async def run(
        self,
        scanner: Scanner,
        load: Load,
        tell: Callable[[GatewayEventKind, str], object],
    ) -> None:
        """Hold the bus and keep the adapter, until cancelled."""

        async def scan_anew(_bus: object) -> None:
            scanner.restart()

        self.bus.came.append(scan_anew)
        # The keeper looks every few seconds: an adapter that was off for less would stay deaf.
        self.bus.switched_on.append(scanner.restart)
        self.keeper = AdapterKeeper(
            self.bus, scanner, load, tell, self.bus.log, every_s=self.every_s, off_s=self.off_s
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.bus.run())
            tasks.create_task(self.keeper.run())

    def health(self) -> dict[str, object]:
        """Return what is known of the adapter, for `edge-agent status`."""
        if self.keeper is None:
            return {}
        return {
            "state": self.keeper.state,
            "reason": self.keeper.reason or None,
            "resets": self.keeper.resets,
            "strangers_refused": self.agent.refused,
        }

    async def holds(self, address: str) -> bool:
        """See `RadioHost`."""
        return await self.bus.holds(address)

    async def remove(self, address: str) -> None:
        """See `RadioHost`."""
        await self.bus.remove(address)

    def drops(self, address: str) -> int:
        """See `RadioHost`."""
        return self.bus.drops(address)

    def expecting(self, address: str, terms: PairingTerms) -> AbstractAsyncContextManager[None]:
        """See `RadioHost`."""
        return self.agent.expecting(address, terms)
