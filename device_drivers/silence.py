"""Waiting for a device that pushes by itself and gives no end signal: silence is the end."""

import asyncio
from typing import Any

from device_drivers.link import GattLink
from device_drivers.profile import Records


async def until_silent(link: GattLink, heard: asyncio.Event, records: Records) -> None:
    """Return when the device is silent or gone; raise what a handler raised, or that the link was lost.

    The first packet may take `first_s`, the next ones `idle_s` each, all of them `overall_s`. `heard` is set
    by whoever takes a packet.
    """
    closed = asyncio.ensure_future(link.wait_closed())
    try:
        async with asyncio.timeout(float(records.overall_s)):
            patience = float(records.first_s)
            while await _heard(heard, closed, patience):
                patience = float(records.idle_s)
    except TimeoutError:
        return  # it talks without end: what was said is committed, the rest comes with the next visit
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
