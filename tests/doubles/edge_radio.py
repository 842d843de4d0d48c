"""A radio whose devices are scripts: the second implementation of what visits ask of a radio."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from tests.doubles.gatt_link import ScriptedDevice


@dataclass
class ScriptedLink(ScriptedDevice):
    """A scripted device that can bond; a handler's error ends the link, as the product's own does."""

    bonds: int = 0
    failure: Exception | None = None

    async def bond(self) -> None:
        self.bonds += 1

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
    asked: list[tuple[object, bool]] = field(default_factory=list)

    def open(self, handle: object, *, bonding: bool) -> AbstractAsyncContextManager[ScriptedLink]:
        self.asked.append((handle, bonding))
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

    @asynccontextmanager
    async def silence(self) -> AsyncIterator[None]:
        self.silent += 1
        try:
            yield
        finally:
            self.silent -= 1
