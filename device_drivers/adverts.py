"""Taking what a device advertises, for as long as it does."""

import asyncio
from collections.abc import Callable

from device_drivers.link import AdvertLink, Sighting
from device_drivers.profile import Records


async def take_adverts(
    link: AdvertLink, service: str, take: Callable[[bytes], None], records: Records
) -> None:
    """Hand the data of one service (128-bit UUID) to `take`, until there is silence for `idle_s`.

    A device that advertises without end is left after `overall_s`. Raises what `take` raised.
    """

    def heard(sighting: Sighting) -> None:
        if service in sighting.service_data:
            take(sighting.service_data[service])

    link.listen(heard)
    try:
        async with asyncio.timeout(float(records.overall_s)):
            await link.silent(float(records.idle_s))
    except TimeoutError:
        return
