"""Several processes on one record, on each engine; and what only a server of its own can do wrong."""

import datetime as dt
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from cloud_bridge.alerts import AlertState
from cloud_bridge.store import schema
from cloud_bridge.store.engine import open_engine, reading
from service_kit.key_files import write_private
from tests.doubles.bridge_desk import BridgeDesk, assigned, told
from tests.doubles.bridge_home import GATEWAY, SITE, SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure, glucose, weight
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.canonical import decode, encode
from wire_format.codec import Item, encode_items
from wire_format.envelope import LAST_SEQUENCE, EnvelopeHeader, seal
from wire_format.errors import Misconfigured, Unreachable
from wire_format.nomenclature import Unit

ROOT = Path(__file__).resolve().parents[2]
BOTH = ("fhir", "hl7v2")
on_postgres = pytest.mark.parametrize("each_engine", ["postgresql"], indirect=True)


@pytest.fixture
def desk(each_engine: str, tmp_path: Path) -> Iterator[BridgeDesk]:
    del each_engine
    made = BridgeDesk(tmp_path, destinations=BOTH)
    yield made
    made.close()


def day() -> list[tuple[Item, ...]]:
    """What one home says in a day: severe and plain, a correction, somebody else's, and in two units."""
    severe, moved = blood_pressure("192", "124"), blood_pressure("131", minutes=9)
    return [
        told(severe),
        told(blood_pressure("190", "122", minutes=3)),
        told(glucose("50", unit=Unit.MG_PER_DL, minutes=4)),
        told(weight("82.50", minutes=5)),
        told(moved),
        (assigned(moved, "p-2", later=60),),
        *(told(blood_pressure(str(120 + n), minutes=20 + n)) for n in range(8)),
        told(glucose("6.30", minutes=40), "p-2"),
    ]


def fill(desk: BridgeDesk) -> None:
    """The day in the inbox: twice, and not in its order."""
    home = SealingHome()
    sealed = [home.seal(items) for items in day()]
    for one in (*sealed[::2], *sealed[1::2], *reversed(sealed)):
        desk.store.intake.accept(home.topic, one.data, desk.now)


def what_stands(desk: BridgeDesk) -> tuple[object, ...]:
    live = {
        (row["id"], row["rule"], row["standing"], row["evidence"], row["reason"], row["subject"])
        for row in desk.table("alert")
        if row["state"] != AlertState.WITHDRAWN
    }
    readings = desk.readings()
    chain = sorted((row["sequence"], row["verdict"], row["receipt_due"]) for row in desk.table("envelope"))
    return readings, live, chain


class Workers:
    """Processes that begin together."""

    def __init__(self, desk: BridgeDesk, folder: Path, kill_at: tuple[int, ...]) -> None:
        keys = folder / "bridge.key"
        write_private(keys, bridge_keys())
        url = desk.store.engine.url.render_as_string(hide_password=False)
        program = [sys.executable, "-m", "tests.doubles.store_worker", url, str(keys), desk.now.isoformat()]
        self._ones = [
            subprocess.Popen(
                [*program, str(n)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for n in kill_at
        ]

    def work(self) -> tuple[list[int], list[Any]]:
        """Let them begin; return how each ended, and what they delivered altogether."""
        for one in self._ones:
            assert one.stdout is not None
            assert json.loads(one.stdout.readline()) == "ready"
        for one in self._ones:
            assert one.stdin is not None
            one.stdin.write("go\n")
            one.stdin.flush()
        said = [one.communicate(timeout=90)[0] for one in self._ones]
        delivered = [json.loads(line) for text in said for line in text.splitlines()]
        return [one.returncode for one in self._ones], delivered


def test_processes_on_one_record_double_nothing_and_lose_nothing(desk: BridgeDesk, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = SealingHome()
    expected = BridgeDesk(tmp_path / "alone", destinations=BOTH)
    expected.receive(alone, *map(alone.seal, day()))
    fill(desk)
    # One of the three dies within its first transaction, while it alone may write.
    ends, delivered = Workers(desk, tmp_path, (0, 0, 1)).work()
    assert ends == [0, 0, -9]
    assert what_stands(desk) == what_stands(expected)
    assert desk.table("inbox") == desk.table("refused") == []
    assert len(delivered) == len({tuple(one) for one in delivered})
    rows = {(r["kind"], str(r["subject"]), r["destination"]): r for r in desk.table("delivery")}
    assert {tuple(one[:3]) for one in delivered} == set(rows)
    assert all(r["delivered"] == r["wanted"] and r["claimed_until"] is None for r in rows.values())
    latest = {tuple(one[:3]): max(o[3] for o in delivered if o[:3] == one[:3]) for one in delivered}
    assert latest == {key: row["wanted"] for key, row in rows.items()}
    expected.close()


# --- what only a server of its own can do wrong ---


@on_postgres
def test_moments_digits_and_counts_are_exact(desk: BridgeDesk) -> None:
    """The server's own zone is Asia/Shanghai: see tests/doubles/postgres.py."""
    home = SealingHome()
    m = glucose("6.30", minutes=7)
    at = NOW + dt.timedelta(minutes=7, microseconds=1)
    moment = m.time.model_copy(update={"received_at": at})
    desk.receive(home, home.seal(told(m.model_copy(update={"time": moment}))))
    (one,) = desk.readings()
    assert str(one.measurement.components[0].value) == "6.30"
    (row,) = desk.table("measurement")
    assert (row["received_at"], row["received_at"].tzinfo) == (at, dt.UTC)
    with desk.store.engine.begin() as past:  # as if another program had written it in its own zone
        past.execute(text("SET TIME ZONE 'Asia/Shanghai'"))
        past.execute(text("UPDATE measurement SET received_at = '2026-11-24 16:07:00.000001'"))
    assert desk.table("measurement")[0]["received_at"] == at
    with desk.store.engine.begin() as past:
        past.execute(text("SELECT setval('inbox_id_seq', 3000000000)"))
    header = EnvelopeHeader(GATEWAY, UUID(int=2), LAST_SEQUENCE, NOW, bytes(32))
    items = encode_items(told(blood_pressure("130")))
    last = seal(items, header, gateway_keys().signing, (bridge_keys().opening.public,))
    desk.receive(home, last)
    assert [due.sequence for due in desk.store.outgoing.receipts_due(2)] == [1, LAST_SEQUENCE]
    assert desk.table("inbox") == []


@on_postgres
def test_what_no_text_of_a_database_holds_holds_up_nobody(desk: BridgeDesk) -> None:
    home = SealingHome()
    broken = decode(encode_items([blood_pressure("130")]))
    broken["items"][0][1]["nu\0l"] = 1
    unknown = encode({"v": 1, "items": [["nu\0l", 1]]})
    topic = f"kiteline/1/{SITE}/{GATEWAY}/up"
    desk.receive_bytes("kiteline/1/\0/x/up", b"a topic that no broker lets through")
    desk.receive_bytes(topic, home.seal([], payload=unknown).data)
    desk.receive_bytes(topic, home.seal([], payload=encode(broken)).data)
    stranger = SealingHome("gw\0")
    desk.receive_bytes(topic, stranger.seal(told(blood_pressure("131"))).data)
    desk.receive(home, home.seal(told(blood_pressure("132"))))
    assert desk.table("inbox") == []
    assert len(desk.table("refused")) == 2
    assert [row["verdict"] for row in desk.table("envelope")].count("quarantined") == 2
    assert len(desk.readings()) == 1


@on_postgres
def test_who_reads_waits_for_nobody_and_who_writes_waits_in_line(desk: BridgeDesk) -> None:
    home = SealingHome()
    one = home.seal(told(blood_pressure("130")))
    written = threading.Event()

    def write() -> None:
        desk.store.intake.accept(home.topic, one.data, desk.now)
        written.set()

    with desk.store.engine.begin() as holds:
        assert (
            holds.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).scalar_one() == 1
        )
        waits = threading.Thread(target=write)
        waits.start()
        assert not written.wait(0.3)
        assert desk.store.intake.waiting(5) == []
    waits.join(10)
    assert len(desk.store.intake.waiting(5)) == 1
    with reading(desk.store.engine) as snapshot:
        count = text("SELECT count(*) FROM inbox")
        assert snapshot.execute(count).scalar_one() == 1
        write()
        assert snapshot.execute(count).scalar_one() == 1  # one consistent picture, whatever comes


def _begin_and_be_ended(desk: BridgeDesk) -> None:
    with desk.store.engine.begin() as broken:
        broken.execute(schema.inbox.delete())
        broken.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


@on_postgres
def test_a_session_that_the_server_ended_is_unreachable_once(desk: BridgeDesk) -> None:
    home = SealingHome()
    one = home.seal(told(blood_pressure("130")))
    desk.store.intake.accept(home.topic, one.data, desk.now)
    with pytest.raises(Unreachable, match="cannot be used now"):
        _begin_and_be_ended(desk)
    assert len(desk.store.intake.waiting(5)) == 1
    desk.ingest.drain()
    assert len(desk.readings()) == 1


def _begin_and_idle(desk: BridgeDesk) -> None:
    with desk.store.engine.begin() as slow:
        slow.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        with desk.store.engine.connect().execution_options(reading=True) as other:
            gone = text(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND pid = :pid"
            )
            pid = {"pid": slow.connection.dbapi_connection.info.backend_pid}  # type: ignore[union-attr]
            for _ in range(600):
                if other.execute(gone, pid).scalar_one() == 0:
                    break
                other.rollback()
                time.sleep(0.05)
        slow.execute(schema.inbox.delete())


@on_postgres
def test_whose_turn_ended_because_nothing_was_done_with_it_is_unreachable(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.store.intake.accept(home.topic, home.seal(told(blood_pressure("130"))).data, desk.now)
    with pytest.raises(Unreachable, match="cannot be used now"):
        _begin_and_idle(desk)
    assert len(desk.store.intake.waiting(5)) == 1
    assert desk.store.healthy()


@on_postgres
def test_a_session_is_bounded(desk: BridgeDesk) -> None:
    names = ("lock_timeout", "synchronous_commit", "TimeZone", "idle_in_transaction_session_timeout")

    def said(connection: Connection) -> list[str]:
        return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]

    with desk.store.engine.begin() as writes:
        assert said(writes) == ["30s", "on", "UTC", "1min"]
    with reading(desk.store.engine) as reads:
        assert said(reads) == ["30s", "on", "UTC", "0"]


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("postgresql://kiteline:secret@127.0.0.1:1/kiteline", Unreachable, "cannot be used now"),
        ("mysql://kiteline:secret@127.0.0.1/kiteline", Misconfigured, "write one of them"),
        ("kiteline:secret", Misconfigured, "write one of them"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_without_its_password(
    url: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        open_engine(url)
    assert "secret" not in str(raised.value)
