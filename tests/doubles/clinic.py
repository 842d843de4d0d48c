"""A clinic that does not treat the patient: what it may be told, what is held back, and its slow server."""

import asyncio
import datetime as dt
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from cloud_bridge.access.model import DataType
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from wire_format.measurement import Measurement

CLINIC, FHIR = "webhook:clinic", "fhir"
TO = "organization:clinic"
NEEDED = {CLINIC: TO}


def bring(desk: BridgeDesk, *measured: Measurement, outbox: int = 1) -> None:
    home = SealingHome(outbox=outbox)
    for one in measured:
        desk.receive(home, home.seal(told(one)))


def give(desk: BridgeDesk, *data: DataType, patient: str = "patient-1", **times: dt.datetime) -> None:
    for one in data:
        desk.store.access.give_consent(
            patient, TO, one, text_version="2026-1", by=patient, now=desk.now, **times
        )


def withdraw(
    desk: BridgeDesk, *data: DataType, patient: str = "patient-1", at: dt.datetime | None = None
) -> int:
    moment = at or desk.now
    return sum(desk.store.access.withdraw_consent(patient, TO, one, by=patient, now=moment) for one in data)


def held(desk: BridgeDesk) -> list[tuple[str, int]]:
    return [(one.data, one.count) for one in desk.store.deliveries.held()]


@asynccontextmanager
async def clinic_server(pause_s: float, heard: list[str]) -> AsyncIterator[str]:
    """Take events, note each as it is heard, and answer late. Yield the URL."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                (length,) = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
                body = await reader.readexactly(int(length.split(b":")[1]))
                heard.append(json.loads(body)["id"])
                await asyncio.sleep(pause_s)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        await server.wait_closed()
