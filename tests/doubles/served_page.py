"""The page and the interface for programs, really served on a port of loopback, in a thread of their own."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cloud_bridge.access.model import Account, DataType, Role
from cloud_bridge.api.room import Door
from cloud_bridge.api.server import serve_page
from cloud_bridge.page_links import PageLinks
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.page_visitor import ZONE, credentials, programs
from virtual_home.processes import free_port

UNBOUNDED = 10**9


def staff(desk: BridgeDesk) -> None:
    """A nurse to whom everybody agreed, an auditor, and the first patient."""
    for name, role in (("n1", Role.NURSE), ("a1", Role.AUDITOR), ("p1", Role.PATIENT)):
        own = frozenset({"patient-1"} if role is Role.PATIENT else ())
        desk.store.access.add_account(Account(name, role, "1", patients=own), credentials(), desk.now)
    for patient in ("patient-1", "patient-2"):
        for data in DataType:
            desk.store.access.give_consent(patient, "nurse", data, text_version="1", by=patient, now=desk.now)


@contextmanager
def served(
    desk: BridgeDesk,
    per_minute: int = UNBOUNDED,
    *,
    links: PageLinks | None = None,
    acknowledged: Callable[[], None] = lambda: None,
    door: Door | None = None,
    port: int | None = None,
) -> Iterator[str]:
    """Serve one worker over the desk's store; yields its address. With `links` nobody has an account."""
    port, loop = port or free_port(), asyncio.new_event_loop()
    accounts = desk.store.access if links is None else None
    serving = loop.create_task(
        serve_page(
            port,
            desk.store.alerts,
            (lambda _: False) if links is None else links.redeem,
            acknowledged,
            ZONE,
            accounts,
            lambda: desk.now,
            None if accounts is None else programs(desk, per_minute),
            door,
        )
    )
    thread = threading.Thread(target=lambda: loop.run_until_complete(asyncio.wait([serving])))
    thread.start()
    try:
        _until_listening(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(serving.cancel)
        thread.join()
        loop.close()


def _until_listening(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"nothing listens on {port}")
