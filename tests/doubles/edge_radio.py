"""A radio whose devices are scripts: the second implementation of what visits ask of a radio."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from edge_agent.conversation import Approach
from tests.doubles.gatt_link import ScriptedDevice
from wire_format.errors import Unreachable


@dataclass
class ScriptedLink(ScriptedDevice):
    """A scripted device that can bond; a handler's error ends the link, as the product's own does."""

    bonds: int = 0
    address: str = "C0:49:5F:00:00:01"
    encrypted: bool = False
    refuses: Exception | None = None
    failure: Exception | None = None

    async def bond(self) -> None:
        self.bonds += 1
        if self.refuses is not None:
            raise self.refuses
        self.encrypted = True

    def raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def subscribe(self, characteristic: str, handler: Callable[[bytes], None]) -> None:
        def guarded(data: bytes) -> None:
            try:
                handler(data)
            except Exception as error:  # noqa: BLE001 - kept for `raise_failure`
                self.failure = error

        await super().subscribe(characteristic, guarded)


@dataclass
class ScriptedRadio:
    """Opens what `device` makes for each visit; an exception that it gives is raised instead."""

    device: Callable[[], ScriptedLink | Exception]
    opened: list[ScriptedLink] = field(default_factory=list)
    tries: int = 0
    silent: int = 0
    asked: list[Approach] = field(default_factory=list)
    held: set[str] = field(default_factory=set)
    removed: list[str] = field(default_factory=list)
    unremovable: bool = False

    async def holds(self, address: str) -> bool:
        return address in self.held

    async def remove_bond(self, address: str) -> None:
        if self.unremovable:
            raise Unreachable("bluetoothd does not answer")
        self.removed.append(address)
        self.held.discard(address)

    def open(self, handle: object, approach: Approach) -> AbstractAsyncContextManager[ScriptedLink]:
        del handle
        self.asked.append(approach)
        return self._open()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[ScriptedLink]:
        self.tries += 1
        assert self.silent == 1, "the scanner must be silent while connecting"
        made = self.device()
        if isinstance(made, Exception):
            raise made
        self.opened.append(made)
        yield made
        if made.encrypted:
            self.held.add(made.address)

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        self.silent += 1
        try:
            yield
        finally:
            self.silent -= 1
