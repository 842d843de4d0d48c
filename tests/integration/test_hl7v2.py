"""HL7 v2 over MLLP, with a receiver that another implementation runs, in clear and over mutual TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.mllp import start_hl7_server

from cloud_bridge.connectors.hl7_map import Routing
from cloud_bridge.connectors.hl7v2 import Hl7V2Connector, Peer
from cloud_bridge.connectors.section import TlsSection
from tests.doubles.bridge_orders import alert_order, order
from tests.doubles.bridge_readings import reading
from tests.doubles.certificates import certificate
from wire_format.errors import Misconfigured, Unreachable


class Engine:
    """An interface engine: parses, files by control id, acknowledges."""

    def __init__(self) -> None:
        self.filed: dict[str, hl7.Message] = {}
        self.connections = 0
        self._serving: set[asyncio.Task[Any]] = set()

    async def serve(self, reader: Any, writer: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        try:
            while True:
                message = await reader.readmessage()
                self.filed[str(message["MSH.F10"])] = message
                writer.writemessage(message.create_ack("AA"))
                await writer.drain()
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    async def stop(self) -> None:
        await asyncio.wait(self._serving, timeout=2)


@asynccontextmanager
async def engine(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Engine, int]]:
    one = Engine()
    server = await start_hl7_server(one.serve, "127.0.0.1", 0, encoding="utf-8", ssl=tls)
    try:
        yield one, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        if one.connections:
            await one.stop()
        await server.wait_closed()


async def test_readings_and_alerts_are_filed_once_on_one_connection() -> None:
    async with engine() as (one, port):
        async with Hl7V2Connector(Peer("127.0.0.1", port), Routing("APP", "FAC", "T")) as connector:
            for _ in range(2):
                await asyncio.gather(
                    *(connector.deliver(order(reading(str(120 + n), minutes=n))) for n in range(20)),
                    connector.deliver(alert_order()),
                )
        assert len(one.filed) == 21
        assert one.connections == 1
        kinds = {str(m.segment("MSH")[9]) for m in one.filed.values()}
        assert kinds == {"ORU^R01^ORU_R01", "ORU^R40^ORU_R40"}


async def test_texts_of_any_language_arrive() -> None:
    async with engine() as (one, port):
        async with Hl7V2Connector(Peer("127.0.0.1", port), Routing("", "")) as connector:
            await connector.deliver(replace(alert_order(), reason="血压严重升高 | 复测"))
        (message,) = one.filed.values()
        said = message.unescape(str(message["OBX.F5"]))
        assert said.startswith("血压严重升高 | 复测")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = certificate(tmp_path, "authority")
    for name in ("localhost", "elsewhere", "bridge"):
        certificate(tmp_path, name, authority)
    certificate(tmp_path, "stranger")
    return tmp_path


def listening(folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    context.load_verify_locations(folder / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def calling(folder: Path, ca: str, own: str) -> ssl.SSLContext:
    paths = {"ca": folder / f"{ca}.pem", "certificate": folder / f"{own}.pem", "key": folder / f"{own}.key"}
    return TlsSection(**paths).context("hl7v2")


async def send(port: int, tls: ssl.SSLContext | None) -> None:
    peer = Peer("localhost", port, 3, tls)
    async with Hl7V2Connector(peer, Routing("", "")) as connector:
        await connector.deliver(order(reading("142")))


async def test_mutual_tls(folder: Path) -> None:
    async with engine(listening(folder, "localhost")) as (one, port):
        await send(port, calling(folder, "authority", "bridge"))
        assert len(one.filed) == 1


@pytest.mark.parametrize(
    ("server", "ca", "own"),
    [
        ("elsewhere", "authority", "bridge"),  # another name
        ("localhost", "stranger", "bridge"),  # another authority
        ("localhost", "authority", "stranger"),  # we are a stranger
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_is_not_trusted_gets_nothing(folder: Path, server: str, ca: str, own: str) -> None:
    async with engine(listening(folder, server)) as (one, port):
        with pytest.raises(Unreachable):
            await send(port, calling(folder, ca, own))
        assert one.filed == {}


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(Misconfigured, match=r"hl7v2\.tls"):
            TlsSection(ca=tmp_path / name).context("hl7v2")
