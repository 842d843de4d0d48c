"""`AdvertLink` over what the scanner hears: one device's advertisements, handed on while a visit lasts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from device_drivers.link import Sighting


@dataclass(slots=True)
class Adverts:
    """Holds what was heard until the driver listens; then hands on each advertisement as it comes.

    Equal advertisements are repeated many times a second: one that says what the last one said is not handed
    on again.
    """

    first: Sighting
    _handler: Callable[[Sighting], None] | None = None
    _said: object = None
    _failure: Exception | None = None
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def listen(self, handler: Callable[[Sighting], None]) -> None:
        """Hand on the advertisement that began the visit, and each that follows."""
        self._handler = handler
        self.heard(self.first)

    def heard(self, sighting: Sighting) -> None:
        """Take an advertisement; never raises: what the driver raises ends its visit."""
        self._heard.set()
        said = (sighting.service_data, sighting.manufacturer_data)
        if self._handler is None or self._failure is not None or said == self._said:
            return
        self._said = said
        try:
            self._handler(sighting)
        except Exception as error:  # noqa: BLE001 - the scanner must not end; the visit must
            self._failure = error

    async def silent(self, for_s: float) -> None:
        """Return when nothing was heard for so long; raise what the handler raised."""
        while self._failure is None:
            self._heard.clear()
            try:
                async with asyncio.timeout(for_s):
                    await self._heard.wait()
            except TimeoutError:
                return
        raise self._failure
