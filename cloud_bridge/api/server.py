"""Serves the page on loopback, within the bridge's own event loop."""

import asyncio
import datetime as dt
import socket
from collections.abc import Callable

import uvicorn

from cloud_bridge.api.app import create_app
from cloud_bridge.api.room import Door, Page
from cloud_bridge.api.v1.door import Programs
from cloud_bridge.console.inbox import Record
from cloud_bridge.console.people import Accounts
from wire_format.errors import Misconfigured

LOOPBACK = "127.0.0.1"
ENDS_WITHIN_S = 5
"""Streams end by themselves; one whose reader reads nothing any more is cut off."""


async def serve_page(  # noqa: PLR0913, PLR0917 - what a page is built from
    port: int,
    record: Record,
    redeem: Callable[[str], bool],
    acknowledged: Callable[[], None],
    zone: dt.tzinfo,
    accounts: Accounts | None = None,
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    programs: Programs | None = None,
    door: Door | None = None,
) -> None:
    """Serve until cancelled; raises `Misconfigured` if the port is taken.

    With `accounts` people sign in, by `door` if there is one, and with `programs` too, programs may ask.
    """
    hosts = frozenset({f"{LOOPBACK}:{port}", f"localhost:{port}"})
    page = Page(record, redeem, acknowledged, clock, zone, hosts, accounts, door=door)
    server = _Server(
        uvicorn.Config(
            create_app(page, programs),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=ENDS_WITHIN_S,
        )
    )
    with _bound(port) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await asyncio.shield(serving)
        finally:
            if programs is not None:
                programs.streams.ending.set()
            server.should_exit = True
            await asyncio.wait([serving])


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise Misconfigured(f"page.port: {port} is taken ({error.strerror}): write another one.") from error


class _Server(uvicorn.Server):
    """Leaves signals to the bridge: it ends everything in its own order."""

    def capture_signals(self) -> "_NoSignals":  # type: ignore[override]  # a context manager that does nothing
        """Capture none."""
        return _NoSignals()


class _NoSignals:
    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, *_: object) -> None:
        """Do nothing."""
