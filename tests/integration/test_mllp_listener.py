"""Discharges over MLLP: a real client and raw sockets, in clear and over TLS; nothing lost, nothing twice."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7.client import MLLPClient
from sqlalchemy import text

from cloud_bridge.discharge.terms import Terms
from cloud_bridge.mllp_listener import MOST_CONNECTIONS, MllpListener, MllpSection, ServerTlsSection
from cloud_bridge.store.hl7_messages import Received
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.certificates import certificate
from tests.doubles.discharge_messages import a03, framed
from tests.doubles.discharge_plans import DEFAULTS, MADE, TERMS, plan
from wire_format.errors import Misconfigured, Unreachable

HOUR = dt.timedelta(hours=1)


class Ward:
    """A bridge's desk that listens, and how often it said that something was taken."""

    def __init__(self, folder: Path, terms: Terms = TERMS, **section: Any) -> None:
        self.desk = BridgeDesk(folder, zone="Asia/Shanghai")
        self.desk.now = MADE + HOUR
        self.taken = 0
        self.listener = MllpListener(
            MllpSection(port=0, **section),
            self.desk.store.hl7_messages,
            terms,
            DEFAULTS,
            lambda: self.desk.now,
            self._taken,
            silent(),
        )

    def _taken(self) -> None:
        self.taken += 1

    @property
    def plans(self) -> int:
        return len(self.desk.table("discharge_version"))

    def messages(self) -> list[dict[str, Any]]:
        return self.desk.table("hl7_message")


@asynccontextmanager
async def ward(folder: Path, **section: Any) -> AsyncIterator[Ward]:
    one = Ward(folder, **section)
    running = asyncio.create_task(one.listener.run())
    try:
        await asyncio.wait_for(one.listener.listening.wait(), 10)
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        one.desk.close()


async def connect(one: Ward, **more: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", one.listener.port, **more)


async def answer(reader: asyncio.StreamReader) -> hl7.Message:
    block = await asyncio.wait_for(reader.readuntil(b"\x1c\r"), 10)
    assert block.startswith(b"\x0b")
    return hl7.parse(block[1:-2].decode())


def said(message: hl7.Message) -> tuple[str, str]:
    return str(message.segment("MSA")[1]), str(message.segment("MSA")[2])


async def exchange(one: Ward, *chunks: bytes, tls: ssl.SSLContext | None = None) -> hl7.Message:
    """Send a message on a connection of its own, in pieces, and return what is answered."""
    how = {} if tls is None else {"ssl": tls, "server_hostname": "localhost"}
    reader, writer = await connect(one, **how)
    try:
        for chunk in chunks:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0)
        return await answer(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


# --- the path ---


async def test_a_real_client_is_answered_and_the_patient_is_enrolled(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:

        def send() -> list[bytes]:
            with MLLPClient("127.0.0.1", one.listener.port) as client:
                return [client.send_message(a03().decode()) for _ in range(2)]

        answers = [hl7.parse(raw.strip(b"\x0b\x1c\r").decode()) for raw in await asyncio.to_thread(send)]
        assert [said(found) for found in answers] == [("AA", "A1")] * 2
        assert (one.plans, one.taken, len(one.messages())) == (1, 1, 1)
        assert one.messages()[0]["data"] == a03()
        one.desk.wake()
        (discharge,) = one.desk.table("discharge")
        settings = one.desk.store.alerts.settings(discharge["patient"])
        assert [m.programme for m in settings.programmes] == ["hypertension"]
        (entry, *_) = [entry for entry, _ in one.desk.store.access.entries(discharge["patient"])]
        assert (entry.account, entry.role) == ("hl7v2:HIS|HOSP", "source")


async def test_a_message_is_the_same_wherever_it_is_cut(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        whole = framed(a03())
        for cut in (1, 2, 40, len(whole) - 2, len(whole) - 1):
            assert said(await exchange(one, whole[:cut], whole[cut:])) == ("AA", "A1")
        assert said(await exchange(one, *(bytes([b]) for b in whole))) == ("AA", "A1")
        assert one.plans == 1


async def test_two_messages_in_one_packet_are_two(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        reader, writer = await connect(one)
        other = a03(control_id="A2", changes=(("stay-1", "stay-2"),))
        writer.write(framed(a03()) + framed(other))
        assert [said(await answer(reader)) for _ in range(2)] == [("AA", "A1"), ("AA", "A2")]
        writer.close()
        assert one.plans == 2


async def test_a_connection_that_ends_before_the_answer_is_made_good_by_sending_again(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        _, writer = await connect(one)
        writer.write(framed(a03()))
        await writer.drain()
        writer.transport.abort()
        for _ in range(200):
            if one.plans:
                break
            await asyncio.sleep(0.02)
        before = one.desk.everything()
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")
        assert one.desk.everything() == before


async def test_a_crash_between_keeping_and_taking_is_made_good_too(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        received = one.desk.store.hl7_messages.receive("HIS|HOSP", "A1", a03(), one.desk.now)
        assert (received.answer, received.other, one.plans) == (None, False, 0)
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")
        assert (one.plans, len(one.messages())) == (1, 1)


async def test_half_a_message_is_none_and_harms_nobody(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        reader, writer = await connect(one)
        writer.write(framed(a03())[:-2])
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert (one.plans, one.messages()) == (0, [])
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n\x1c\r", b"\x0b" + b"x" * 3000 + b"\x1c\r"])
async def test_what_is_no_frame_ends_the_connection_only(tmp_path: Path, noise: bytes) -> None:
    async with ward(tmp_path, longest=2048) as one:
        reader, writer = await connect(one)
        writer.write(noise)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")


async def test_who_says_nothing_is_let_go(tmp_path: Path) -> None:
    async with ward(tmp_path, idle_s=0.2) as one:
        reader, writer = await connect(one)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()


async def test_too_many_connections_are_turned_away(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        held = [await connect(one) for _ in range(MOST_CONNECTIONS)]
        reader, writer = await connect(one)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        for _, other in (*held, (reader, writer)):
            other.close()
        for _ in range(200):
            try:
                assert said(await exchange(one, framed(a03()))) == ("AA", "A1")
                break
            except asyncio.IncompleteReadError:
                await asyncio.sleep(0.02)


async def test_two_senders_at_once_take_one_plan(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        found = await asyncio.gather(*(exchange(one, framed(a03())) for _ in range(8)))
        assert {said(each) for each in found} == {("AA", "A1")}
        assert (one.plans, len(one.messages())) == (1, 1)


# --- what is answered with AE and AR ---


async def test_faults_come_back_in_words_and_the_message_is_kept(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        wrong = a03(changes=(("stay-1^^^VISITS", ""), ("42^^^HOSP", "42^^^OTHER")))
        found = await exchange(one, framed(wrong))
        assert said(found) == ("AE", "A1")
        assert [str(err[2]) for err in found.segments("ERR")] == ["PID^1^3", "PV1^1^19"]
        assert [str(err[3][0][0]) for err in found.segments("ERR")] == ["204", "101"]
        assert (one.plans, one.taken) == (0, 0)
        assert one.messages()[0]["data"] == wrong
        # Another message under the same control id is not the same message.
        found = await exchange(one, framed(a03()))
        assert said(found) == ("AE", "A1")
        assert str(found.segment("ERR")[3][0][0]) == "205"
        assert one.plans == 0


async def test_what_was_refused_is_looked_at_anew(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        bare = one.listener
        one.listener.defaults = type(DEFAULTS)()
        found = await exchange(one, framed(a03()))
        assert said(found) == ("AE", "A1")
        assert "write discharge.nurse" in str(found.segment("ERR")[8])
        bare.defaults = DEFAULTS
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")
        assert one.plans == 1


async def test_messages_of_another_kind_are_rejected(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        found = await exchange(one, framed(a03(changes=(("ADT^A03^ADT_A03", "ADT^A08"),))))
        assert said(found) == ("AR", "A1")
        assert str(found.segment("ERR")[3][0][0]) == "201"
        assert said(await exchange(one, framed(b"hello"))) == ("AR", "")
        assert one.messages() == []


async def test_who_is_in_no_programme_is_not_kept(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        other = a03(diagnosis="DG1|1||J45^Asthma^I10|||F")
        assert said(await exchange(one, framed(other))) == ("AA", "A1")
        (kept,) = one.messages()
        assert (kept["data"], kept["answer"]) == (b"", "not_ours")
        assert (one.plans, len(one.desk.table("patient"))) == (0, 2)


async def test_remarks_come_with_the_acceptance(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        found = await exchange(one, framed(a03(more=("OBX|1|NM|8480-6^Systolic^LN||130|mm[Hg]",))))
        assert said(found) == ("AA", "A1")
        assert (str(found.segment("ERR")[4]), "OBX: not read" in str(found.segment("ERR")[8])) == ("W", True)


async def test_an_a03_after_the_fhir_plan_leaves_its_thresholds(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        one.desk.store.discharges.take(plan(), DEFAULTS, "cli", one.desk.now)
        later = a03(made=MADE + HOUR / 2, changes=(("doctor-7", "doctor-8"),))
        assert said(await exchange(one, framed(later))) == ("AA", "A1")
        kept = one.desk.store.discharges.plan(plan().plan_id)
        assert kept is not None
        assert kept.care == plan().care
        assert kept.family_doctor is not None
        assert kept.family_doctor.value == "doctor-8"
        earlier = a03(control_id="A0", made=MADE - HOUR)
        assert said(await exchange(one, framed(earlier))) == ("AA", "A0")
        assert one.plans == 2


class _Broken:
    """A store that cannot be written; or one with a fault of its own."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def receive(self, *_: Any) -> Received:
        raise self.error

    def take(self, *_: Any) -> Any:
        raise AssertionError


@pytest.mark.parametrize("error", [Unreachable("the disk is full"), ZeroDivisionError("odd")])
async def test_what_cannot_be_stored_is_not_accepted(tmp_path: Path, error: Exception) -> None:
    async with ward(tmp_path) as one:
        good, one.listener.messages = one.listener.messages, _Broken(error)
        found = await exchange(one, framed(a03()))
        assert (said(found), str(found.segment("ERR")[3][0][0])) == (("AR", "A1"), "207")
        one.listener.messages = good
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")


async def test_bytes_are_durable_before_they_are_taken(tmp_path: Path) -> None:
    """The transaction that takes a plan fails: the bytes are there all the same."""
    async with ward(tmp_path) as one:
        with one.desk.store.engine.begin() as connection:
            connection.execute(text("DROP TABLE first_visit"))
        assert said(await exchange(one, framed(a03())))[0] == "AR"
        assert [m["data"] for m in one.messages()] == [a03()]
        assert one.messages()[0]["answer"] is None


# --- TLS and configuration ---


def calling(folder: Path, own: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    if own is not None:
        context.load_cert_chain(folder / f"{own}.pem", folder / f"{own}.key")
    return context


async def test_over_tls_only_who_shows_a_certificate_is_heard(tmp_path: Path) -> None:
    issuer = certificate(tmp_path, "authority")
    for name in ("localhost", "engine"):
        certificate(tmp_path, name, issuer)
    certificate(tmp_path, "stranger")
    paths = {"certificate": tmp_path / "localhost.pem", "key": tmp_path / "localhost.key"}
    tls = ServerTlsSection(**paths, ca=tmp_path / "authority.pem")
    async with ward(tmp_path, tls=tls) as one:
        assert said(await exchange(one, framed(a03()), tls=calling(tmp_path, "engine"))) == ("AA", "A1")
        for unknown in (calling(tmp_path, "stranger"), calling(tmp_path, None)):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await exchange(one, framed(a03()), tls=unknown)
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await exchange(one, framed(a03()))
        assert one.plans == 1


def test_from_elsewhere_only_known_senders_are_heard() -> None:
    anybody = ServerTlsSection(certificate=Path("c"), key=Path("k"))
    for tls in (None, anybody):
        with pytest.raises(ValueError, match=r"write \[mllp.tls\] with ca"):
            MllpSection(host="0.0.0.0", port=2575, tls=tls)  # noqa: S104 - what is refused
    with pytest.raises(Misconfigured, match=r"mllp\.tls: a file cannot be used"):
        ServerTlsSection(certificate=Path("/nowhere"), key=Path("/nowhere")).context()


async def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        (tmp_path / "two").mkdir()
        other = Ward(tmp_path / "two")
        other.listener.section = MllpSection(port=one.listener.port)
        try:
            with pytest.raises(Misconfigured, match="write a free port"):
                await other.listener.run()
        finally:
            other.desk.close()
