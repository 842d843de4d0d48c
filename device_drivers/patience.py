"""How long a driver waits for a device that has no end signal: `Records.first_s`, `idle_s`, `overall_s`."""

import asyncio
from typing import Any

from device_drivers.link import AdvertLink, GattLink
from device_drivers.profile import Records


async def until_silent(link: GattLink, heard: asyncio.Event, records: Records) -> None:
    """Return when the device is silent or gone; a handler sets `heard` with each packet.

    Raises what the link raises when it closes. A device that talks without end is left after `overall_s`:
    what was said is committed, the rest comes with the next visit.
    """
    closed = asyncio.ensure_future(link.wait_closed())
    try:
        async with asyncio.timeout(float(records.overall_s)):
            patience = float(records.first_s)
            while await _heard(heard, closed, patience):
                patience = float(records.idle_s)
    except TimeoutError:
        return
    finally:
        if not closed.done():
            closed.cancel()


async def _heard(event: asyncio.Event, closed: asyncio.Future[None], patience_s: float) -> bool:
    """Wait for a packet: True if one came, False on silence or when the link closed; raises its errors."""
    heard = asyncio.ensure_future(event.wait())
    either: set[asyncio.Future[Any]] = {heard, closed}
    try:
        done, _ = await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        heard.cancel()
    if closed in done:
        closed.result()
        return False
    event.clear()
    return bool(done)


async def until_adverts_end(link: AdvertLink, records: Records) -> None:
    """Return when nothing was advertised for `idle_s`, or after `overall_s`; raise what a handler raised."""
    try:
        async with asyncio.timeout(float(records.overall_s)):
            await link.silent(float(records.idle_s))
    except TimeoutError:
        return
