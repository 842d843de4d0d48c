"""Waiting for a device that has no end signal: it has sent all when it is silent, or gone."""

import asyncio
from typing import Any

from device_drivers.link import GattLink


async def until_silent(link: GattLink, heard: asyncio.Event, first_s: float, idle_s: float) -> None:
    """Return after `idle_s` of silence (`first_s` before the first packet), or when the link has closed.

    `heard` is set with each packet. Raises what a handler raised, and `LinkLost`.
    """
    closed = asyncio.ensure_future(link.wait_closed())
    try:
        patience = first_s
        while await _heard(heard, closed, patience):
            patience = idle_s
    finally:
        if not closed.done():
            closed.cancel()


async def raise_what_ended(link: GattLink) -> None:
    """Raise what a handler raised, if that ended the link: it says more than that the link is gone."""
    closed = asyncio.ensure_future(link.wait_closed())
    await asyncio.wait({closed}, timeout=0)
    if closed.done():
        closed.result()
    else:
        closed.cancel()


async def _heard(heard: asyncio.Event, closed: asyncio.Future[None], patience_s: float) -> bool:
    """Wait for a packet: True if one came, False on silence or when the link closed; raises its errors."""
    waiting = asyncio.ensure_future(heard.wait())
    either: set[asyncio.Future[Any]] = {waiting, closed}
    try:
        done, _ = await asyncio.wait(either, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if closed in done:
        closed.result()
        return False
    heard.clear()
    return bool(done)
