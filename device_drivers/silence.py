"""Waiting for a device: for its answer, or for its silence where it has no end signal; or it is gone."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from device_drivers.link import GattLink, LinkLost


@contextmanager
def _closing(link: GattLink) -> Iterator[asyncio.Future[None]]:
    """Give what is done when the link has closed; nobody need look at what it brought."""
    closed = asyncio.ensure_future(link.wait_closed())
    try:
        yield closed
    finally:
        if not closed.cancel() and not closed.cancelled():
            # Who waits for the link next is told again; asyncio need not complain that nobody looked.
            closed.exception()


async def answered(link: GattLink, answer: asyncio.Future[Any], within_s: float, gone: str) -> bool:
    """Wait for `answer`: whether it came within `within_s`. It is not cancelled.

    Raises what a handler raised if that ended the link, else `LinkLost` with the words `gone`.
    """
    with _closing(link) as closed:
        either: set[asyncio.Future[Any]] = {answer, closed}
        await asyncio.wait(either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return True
        if closed.done():
            closed.result()
            raise LinkLost(gone)
        return False


async def until_silent(link: GattLink, heard: asyncio.Event, first_s: float, idle_s: float) -> None:
    """Return after `idle_s` of silence (`first_s` before the first packet), or when the link has closed.

    `heard` is set with each packet. Raises what a handler raised, and `LinkLost`.
    """
    with _closing(link) as closed:
        patience = first_s
        while await _heard(heard, closed, patience):
            patience = idle_s


async def raise_what_ended(link: GattLink) -> None:
    """Raise what a handler raised, if that ended the link: it says more than that the link is gone."""
    with _closing(link) as closed:
        await asyncio.wait({closed}, timeout=0)
        if closed.done():
            closed.result()


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
