"""Mutual TLS to every kind of follow-up system: each end shows who it is, or nothing is sent."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cloud_bridge.connectors.base import Connector
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.connectors.hl7_map import Routing
from cloud_bridge.connectors.hl7v2 import Hl7V2Connector, Peer
from cloud_bridge.connectors.section import TlsSection
from cloud_bridge.connectors.webhook import WebhookConnector
from cloud_bridge.connectors.webhook_map import Sends
from tests.doubles.bridge_orders import order
from tests.doubles.bridge_readings import reading
from tests.doubles.certificates import calling, listening, make_certificates
from tests.doubles.receivers import RECEIVERS, SECRET, Receiver
from wire_format.errors import Misconfigured, Unreachable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_certificates(tmp_path)
    return tmp_path


@asynccontextmanager
async def behind_tls(kind: str, tls: ssl.SSLContext) -> AsyncIterator[Receiver]:
    one = RECEIVERS[kind]()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0, ssl=tls)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.stop()
        await server.wait_closed()


def connector(kind: str, port: int, tls: ssl.SSLContext) -> Connector:
    """Of each kind, as its section makes it."""
    match kind:
        case "fhir":
            return FhirR4Connector(f"https://localhost:{port}/fhir", timeout_s=3, tls=tls)
        case "webhook":
            url = f"https://localhost:{port}/"
            return WebhookConnector(url, (SECRET,), list(Sends), name="desk", timeout_s=3, tls=tls)
        case _:
            return Hl7V2Connector(Peer("localhost", port, 3, tls), Routing("", ""))


async def send(kind: str, port: int, tls: ssl.SSLContext) -> None:
    async with connector(kind, port, tls) as one:
        await one.deliver(order(reading("142")))


@pytest.mark.parametrize("kind", RECEIVERS)
async def test_who_knows_each_other_talks(folder: Path, kind: str) -> None:
    async with behind_tls(kind, listening(folder, "localhost")) as one:
        await send(kind, one.port, calling(folder, "authority", "bridge"))
        assert len(one.ids) == 1


@pytest.mark.parametrize("kind", RECEIVERS)
@pytest.mark.parametrize(
    ("server", "ca", "own"),
    [
        ("elsewhere", "authority", "bridge"),  # another name
        ("localhost", "stranger", "bridge"),  # another authority
        ("localhost", "authority", "stranger"),  # we are a stranger
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_who_is_not_trusted_gets_nothing(
    folder: Path, kind: str, server: str, ca: str, own: str
) -> None:
    async with behind_tls(kind, listening(folder, server)) as one:
        with pytest.raises(Unreachable):
            await send(kind, one.port, calling(folder, ca, own))
        assert one.ids == []


@pytest.mark.parametrize("kind", RECEIVERS)
async def test_who_shows_no_certificate_gets_nothing_in(folder: Path, kind: str) -> None:
    async with behind_tls(kind, listening(folder, "localhost")) as one:
        with pytest.raises(Unreachable):
            await send(kind, one.port, TlsSection(ca=folder / "authority.pem").context("tests"))
        assert one.ids == []


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(Misconfigured, match=r"hl7v2\.tls"):
            TlsSection(ca=tmp_path / name).context("hl7v2")
