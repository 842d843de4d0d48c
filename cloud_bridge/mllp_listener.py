"""HL7 v2 over MLLP, incoming: discharges (ADT^A03), each kept before it is answered, and taken once.

Framing is `hl7`'s. AA says that everything is stored; AE that the message must be corrected; AR that it is
not for us, or that we cannot take it now. A message that is sent again is answered again; it changes nothing.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

from hl7.mllp import InvalidBlockError, start_hl7_server
from pydantic import Field, model_validator

from cloud_bridge.connectors.section import HERE
from cloud_bridge.discharge.hl7_answer import ACCEPT, ERROR, REJECT, acknowledgement
from cloud_bridge.discharge.hl7_fields import DUPLICATE_KEY, Fields, Hl7Fault, header_fields, parse
from cloud_bridge.discharge.hl7_plan import Header, MessageRefusedError, header_of, plan_of
from cloud_bridge.discharge.plan import DischargePlan, PlanRefusedError
from cloud_bridge.discharge.terms import Defaults, Terms
from cloud_bridge.store.discharges import Became, TakenPlan
from cloud_bridge.store.hl7_messages import Received
from service_kit.log import Log, scene
from service_kit.toml_config import Section
from wire_format.errors import Misconfigured, Unreachable

MOST_CONNECTIONS: Final = 64


class ServerTlsSection(Section):
    """Our certificate; with `ca`, whoever connects must show one of its own."""

    certificate: Path
    key: Path
    ca: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return what we show, and whom we let in; raise `Misconfigured` if a file cannot be used."""
        try:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"mllp.tls: a file cannot be used ({error.strerror}): check it.") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class MllpSection(Section):
    """Where messages come in. From elsewhere than this machine only over TLS, and of senders that we know."""

    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65535)
    processing: Literal["P", "T", "D"] = "P"
    longest: int = Field(default=1024 * 1024, ge=1024)
    idle_s: float = Field(default=900, gt=0)
    tls: ServerTlsSection | None = None

    @model_validator(mode="after")
    def _known_senders(self) -> Self:
        if self.host not in HERE and (self.tls is None or self.tls.ca is None):
            raise ValueError(
                "anybody could send plans: write [mllp.tls] with ca, and give senders certificates"
            )
        return self


class Messages(Protocol):
    """What the listener asks of the store."""

    def receive(self, sender: str, control_id: str, data: bytes, now: dt.datetime) -> Received:
        """Commit a message's bytes, once."""
        ...

    def take(
        self, received: Received, plan: DischargePlan, defaults: Defaults, source: str, now: dt.datetime
    ) -> TakenPlan:
        """Take the plan of a message, and note that it was."""
        ...


@dataclass(slots=True)
class MllpListener:
    """Listens on one port. `taken` is called after each message that changed something."""

    section: MllpSection
    messages: Messages
    terms: Terms
    defaults: Defaults
    clock: Callable[[], dt.datetime]
    taken: Callable[[], None]
    log: Log
    port: int = 0
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    _open: int = 0

    async def run(self) -> None:
        """Serve whoever connects, for ever. Raises `Misconfigured` if the port is taken."""
        serving: list[asyncio.TaskGroup] = []

        def connected(reader: Any, writer: Any) -> None:  # noqa: ANN401 - hl7's streams
            serving[0].create_task(self._serve(reader, writer))

        server = await self._bound(connected)
        self.port = server.sockets[0].getsockname()[1]
        try:
            async with asyncio.TaskGroup() as tasks:
                serving.append(tasks)
                await server.start_serving()
                self.listening.set()
                await asyncio.get_running_loop().create_future()
        finally:
            server.close()

    async def _bound(self, connected: Callable[[Any, Any], None]) -> asyncio.Server:
        section = self.section
        tls = None if section.tls is None else section.tls.context()
        try:
            server: asyncio.Server = await start_hl7_server(
                connected, section.host, section.port, limit=section.longest, ssl=tls, start_serving=False
            )
        except OSError as error:
            raise Misconfigured(
                f"mllp.port: {section.host}:{section.port} cannot be listened on ({error.strerror}): "
                "write a free port."
            ) from error
        return server

    async def _serve(self, reader: Any, writer: Any) -> None:  # noqa: ANN401 - hl7's streams
        self._open += 1
        try:
            if self._open > MOST_CONNECTIONS:
                self.log.warning("mllp_too_many_connections", most=MOST_CONNECTIONS)
                return
            while True:
                async with asyncio.timeout(self.section.idle_s):
                    data = await reader.readblock()
                answer, changed = await asyncio.to_thread(self.answer, data)
                if changed:
                    self.taken()
                writer.writeblock(answer)
                await writer.drain()
        except asyncio.IncompleteReadError as error:
            # Half a message was never ours: whoever sends it gets no answer, and sends it again.
            if error.partial:
                self.log.warning("mllp_half_message", bytes=len(error.partial))
        except OSError:  # also a time-out, and TLS that ends in the middle
            self.log.info("mllp_connection_lost")
        except (InvalidBlockError, ValueError) as error:
            self.log.warning("mllp_no_message", error=type(error).__name__, longest=self.section.longest)
        finally:
            self._open -= 1
            writer.close()

    def answer(self, data: bytes) -> tuple[bytes, bool]:
        """Return the acknowledgement of one message, and whether it changed anything.

        What the message says is durable when this returns AA.
        """
        now = self.clock()
        fields = parse(data)
        if isinstance(fields, Hl7Fault):
            named = header_fields(data)  # so that the sender learns which message it was
            known = None if isinstance(named, Hl7Fault) else named
            return acknowledgement(REJECT, known, now, faults=[fields]), False
        try:
            header = header_of(fields, self.terms, self.section.processing)
            return self._answer(data, fields, header, now)
        except MessageRefusedError as error:
            return acknowledgement(REJECT, fields, now, faults=error.faults), False
        except PlanRefusedError as error:
            self.log.warning("mllp_plan_refused", faults=len(error.faults))
            return acknowledgement(ERROR, fields, now, faults=error.faults), False
        except Unreachable as error:
            self.log.error("mllp_store_unreachable", reason=str(error))  # noqa: TRY400 - a full disk is no bug
            fault = Hl7Fault("MSH", "the bridge cannot store anything now: send it again later")
            return acknowledgement(REJECT, fields, now, faults=[fault]), False
        except Exception as error:  # noqa: BLE001 - whatever one message does to us must not end the line
            self.log.error("mllp_failed", reason=scene(error))  # noqa: TRY400 - `scene` says where, without values
            fault = Hl7Fault("MSH", "the bridge failed on this message: its log says where")
            return acknowledgement(REJECT, fields, now, faults=[fault]), False

    def _answer(self, data: bytes, fields: Fields, header: Header, now: dt.datetime) -> tuple[bytes, bool]:
        received = self.messages.receive(header.sender, header.control_id, data, now)
        if received.other:
            what = "this control id was used for another message: give each message its own"
            fault = Hl7Fault("MSH-10", what, DUPLICATE_KEY)
            return acknowledgement(ERROR, fields, now, faults=[fault]), False
        if received.answer is not None:
            return acknowledgement(ACCEPT, fields, now), False
        plan = plan_of(fields, header, self.terms, now)
        done = self.messages.take(received, plan, self.defaults, f"hl7v2:{header.sender}", now)
        changed = done.became in {Became.NEW, Became.CHANGED}
        return acknowledgement(ACCEPT, fields, now, remarks=done.remarks), changed
