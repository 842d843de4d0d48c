"""Receivers of follow-up systems that do as they are told: one for each connector, with one vocabulary."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import StrEnum

from cloud_bridge.connectors.base import Connector
from cloud_bridge.connectors.fhir_r4 import FhirR4Connector
from cloud_bridge.connectors.hl7_map import Routing
from cloud_bridge.connectors.hl7v2 import Hl7V2Connector, Peer
from cloud_bridge.connectors.webhook import WebhookConnector
from cloud_bridge.connectors.webhook_map import Sends

SECRET = bytes(range(32))
TIMEOUT_S = 1.5


class Behaviour(StrEnum):
    """What a receiver does with the next order."""

    TAKE = "take"
    TAKE_SLOWLY = "take_slowly"  # the answer comes byte by byte
    REFUSE = "refuse"
    NOT_ALLOWED = "not_allowed"
    UNAVAILABLE = "unavailable"
    SILENT = "silent"
    CUT = "cut"  # takes it, and the connection breaks before the answer
    NONSENSE = "nonsense"  # says something, and yes to nothing
    OTHER = "other"  # answers about something else
    LATE = "late"  # answers when a later order was answered
    DRIBBLE = "dribble"  # begins an answer, and goes on for ever without an end


_TAKES = {Behaviour.TAKE, Behaviour.TAKE_SLOWLY, Behaviour.CUT, Behaviour.LATE}


class Receiver:
    """Remembers what it was given. `ids` are what it would know a repetition by."""

    confirms = True
    """Whether its protocol can tell a yes from a success that means nothing."""

    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = []
        self.bytes: bytes | None = None
        self.ids: list[str] = []
        self.port = 0
        self.answered = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    def connector(self) -> Connector:
        """Return the connector that speaks to this receiver."""
        raise NotImplementedError

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take orders from one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            while (request := await self.request(reader)) is not None:
                order = self.counts(request)
                behaviour = self.behaviours.pop(0) if order and self.behaviours else Behaviour.TAKE
                if order and behaviour in _TAKES:
                    self.ids.append(self.identity(request))
                if behaviour is Behaviour.SILENT:
                    await reader.read()
                if behaviour in {Behaviour.SILENT, Behaviour.CUT}:
                    break
                if behaviour is Behaviour.DRIBBLE:
                    await _dribble(reader, writer)
                    break
                if behaviour is Behaviour.LATE:
                    await self.answered.wait()
                answer = self.bytes if self.bytes is not None else self.answer(request, behaviour)
                await _say(writer, answer, slowly=behaviour is Behaviour.TAKE_SLOWLY)
                if order:
                    self.answered.set()
                if self.bytes is not None:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def stop(self) -> None:
        """End what still waits."""
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def request(self, reader: asyncio.StreamReader) -> bytes | None:
        raise NotImplementedError

    def counts(self, request: bytes) -> bool:
        """Whether it is an order, and not a question."""
        del request
        return True

    def identity(self, request: bytes) -> str:
        raise NotImplementedError

    def answer(self, request: bytes, behaviour: Behaviour) -> bytes:
        raise NotImplementedError


async def _say(writer: asyncio.StreamWriter, answer: bytes, *, slowly: bool) -> None:
    for part in (answer[i : i + 1] for i in range(len(answer))) if slowly else (answer,):
        writer.write(part)
        await writer.drain()
        if slowly:
            await asyncio.sleep(0)


async def _dribble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Never be silent for long, and never come to an end, until the other side hangs up."""
    gone = asyncio.create_task(reader.read(1))
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        writer.write(f"X-{number}: 1\r\n".encode())
        await writer.drain()
        await asyncio.wait([gone], timeout=TIMEOUT_S / 5)
        if gone.done():
            break
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)


class _Http(Receiver):
    async def request(self, reader: asyncio.StreamReader) -> bytes | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                head += await reader.readexactly(int(line.split(b":")[1]))
        return head

    def answer(self, request: bytes, behaviour: Behaviour) -> bytes:
        codes = {
            Behaviour.REFUSE: "422 Unprocessable Entity",
            Behaviour.NOT_ALLOWED: "401 Unauthorized",
            Behaviour.UNAVAILABLE: "503 Service Unavailable",
        }
        if behaviour in codes:
            return _http(codes[behaviour], b"{}")
        if behaviour in {Behaviour.NONSENSE, Behaviour.OTHER}:
            return _http("200 OK", b"<html>Welcome to the airport</html>")
        return _http("200 OK", self.yes(request))

    def yes(self, request: bytes) -> bytes:
        raise NotImplementedError


def _http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


class FhirReceiver(_Http):
    """A FHIR server that has nothing, and takes transactions."""

    def connector(self) -> Connector:
        return FhirR4Connector(f"http://127.0.0.1:{self.port}/fhir", timeout_s=TIMEOUT_S)

    def counts(self, request: bytes) -> bool:
        return request.startswith(b"POST")

    def identity(self, request: bytes) -> str:
        bundle = json.loads(request.split(b"\r\n\r\n", 1)[1])
        return ",".join(sorted(entry["fullUrl"] for entry in bundle["entry"]))

    def yes(self, request: bytes) -> bytes:
        if not self.counts(request):
            return b'{"resourceType": "Bundle", "type": "searchset"}'
        bundle = json.loads(request.split(b"\r\n\r\n", 1)[1])
        entries = [{"response": {"status": "201 Created"}} for _ in bundle["entry"]]
        return json.dumps(
            {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
        ).encode()


class WebhookReceiver(_Http):
    """A receiver of signed events."""

    confirms = False

    def connector(self) -> Connector:
        return WebhookConnector(
            f"http://127.0.0.1:{self.port}/", (SECRET,), list(Sends), name="desk", timeout_s=TIMEOUT_S
        )

    def identity(self, request: bytes) -> str:
        return str(json.loads(request.split(b"\r\n\r\n", 1)[1])["id"])

    def yes(self, request: bytes) -> bytes:
        del request
        return b""


class Hl7Receiver(Receiver):
    """A receiver of HL7 v2 messages on a raw socket."""

    def connector(self) -> Connector:
        return Hl7V2Connector(Peer("127.0.0.1", self.port, TIMEOUT_S), Routing("APP", "FAC", "T"))

    async def request(self, reader: asyncio.StreamReader) -> bytes | None:
        try:
            return await reader.readuntil(b"\x1c\r")
        except asyncio.IncompleteReadError:
            return None

    def identity(self, request: bytes) -> str:
        return request.split(b"|")[9].decode()

    def answer(self, request: bytes, behaviour: Behaviour) -> bytes:
        codes = {Behaviour.REFUSE: "AE", Behaviour.NOT_ALLOWED: "AR", Behaviour.UNAVAILABLE: "??"}
        control_id = "another" if behaviour is Behaviour.OTHER else self.identity(request)
        if behaviour is Behaviour.NONSENSE:
            return b"\x0bHTTP/1.1 400 Bad Request\x1c\r"
        return acknowledgement(codes.get(behaviour, "AA"), control_id)


def acknowledgement(code: str, control_id: str) -> bytes:
    """Return a framed ACK."""
    text = f"MSH|^~\\&|APP|FAC|||20261124080000||ACK^R01^ACK|1|T|2.6\rMSA|{code}|{control_id}\r"
    return b"\x0b" + text.encode() + b"\x1c\r"


RECEIVERS: dict[str, type[Receiver]] = {
    "fhir": FhirReceiver,
    "hl7v2": Hl7Receiver,
    "webhook": WebhookReceiver,
}


@asynccontextmanager
async def receiving(kind: str, *behaviours: Behaviour) -> AsyncIterator[tuple[Receiver, Connector]]:
    """Serve a receiver, and open its connector."""
    receiver = RECEIVERS[kind]()
    receiver.behaviours = list(behaviours)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        async with receiver.connector() as connector:
            yield receiver, connector
    finally:
        server.close()
        await receiver.stop()
        await server.wait_closed()
