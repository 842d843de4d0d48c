"""The store: its schema, who may claim what, and what becomes of deliveries that fail."""

import datetime as dt
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from cloud_bridge.store import schema
from cloud_bridge.store.base import ClaimedDelivery, EnrolledGateway
from cloud_bridge.store.engine import open_engine
from tests.doubles.bridge_desk import BridgeDesk, care, told
from tests.doubles.bridge_home import GATEWAY, SITE, SealingHome
from tests.doubles.bridge_readings import blood_pressure
from tests.doubles.databases import Databases
from tests.doubles.edge_readings import gateway_keys
from wire_format.errors import Misconfigured, Rejected, Unreachable
from wire_format.keys import GatewayKeys
from wire_format.nomenclature import Quantity

pytestmark = pytest.mark.usefixtures("each_engine")
on_sqlite = pytest.mark.parametrize("each_engine", ["sqlite"], indirect=True)

SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    yield made
    made.close()


def severe(desk: BridgeDesk) -> SealingHome:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("192", "124"))))
    return home


def claim(desk: BridgeDesk, limit: int = 10) -> list[ClaimedDelivery]:
    return desk.store.deliveries.claim_deliveries(desk.now, limit)


# --- schema ---


def test_the_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    engine = open_engine(Databases.of(tmp_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()
    open_engine(Databases.of(tmp_path)).dispose()


@on_sqlite
def test_a_file_of_sqlite_is_durable(tmp_path: Path) -> None:
    engine = open_engine(Databases.of(tmp_path))
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == 2
        assert connection.execute(text("PRAGMA foreign_keys")).scalar_one() == 1
    engine.dispose()


def test_what_waited_before_there_were_ranks_is_delivered_in_order(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/bridge.sqlite"
    old = create_engine(url)
    with old.begin() as connection:
        migrate_to(connection, "0005")
        for number, (severity, late) in enumerate([("high", 0), ("severe", 1), ("severe", 0)]):
            alert = {"rule": "r", "version": "1", "subject": "p", "gateway": "g", "standing": "confirmed"}
            alert |= {
                "evidence": "[]",
                "statements": "[]",
                "reason": "{}",
                "state": "open",
                "queue": "clinical",
            }
            alert |= {"programme": "p", "severity": severity, "late": late, "id": f"{number:032x}"}
            alert |= {"revision": 1, "escalation": 0, "reopened": 0}
            insert(connection, "alert", alert | dict.fromkeys(("since", "raised_at", "due_at"), LONG_AGO))
            insert(connection, "delivery", {"kind": "alert", "subject": f"{number:032x}", **WAITING})
        insert(connection, "delivery", {"kind": "reading", "subject": f"{9:032x}", **WAITING})
    old.dispose()
    engine = open_engine(url)
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT kind, subject, rank FROM delivery ORDER BY rank")).all()
        folded = connection.execute(text("SELECT DISTINCT folded_into FROM alert")).scalars().all()
    engine.dispose()
    assert [(row.kind, int(row.subject, 16), row.rank) for row in rows] == [
        ("alert", 2, 0),
        ("alert", 0, 1),
        ("alert", 1, 2),
        ("reading", 9, 3),
    ]
    assert folded == [None]


LONG_AGO = "2026-11-01 00:00:00.000000"
WAITING = {
    "destination": "fhir",
    "wanted": 1,
    "delivered": 0,
    "attempts": 0,
    "next_attempt_at": LONG_AGO,
    "dead": 0,
    "created_at": LONG_AGO,
}


def migrate_to(connection: Connection, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def insert(connection: Connection, table: str, values: dict[str, object]) -> None:
    """Add a row as that version had it."""
    columns = ", ".join(f'"{name}"' for name in values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({places})"), values)  # noqa: S608 - a test's names


def test_a_database_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    url = Databases.of(tmp_path)
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(Misconfigured, match="newer version"):
        open_engine(url)


def test_a_current_database_is_opened_without_migrating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(command, "upgrade", lambda _, to: asked.append(to))
    open_engine(Databases.of(tmp_path)).dispose()
    assert asked == []
    engine = open_engine(Databases.of(tmp_path))
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0014'"))
    engine.dispose()
    open_engine(Databases.of(tmp_path)).dispose()
    assert asked == ["head"]


def test_the_file_of_each_migration_begins_with_its_number() -> None:
    scripts = ScriptDirectory(str(Path(schema.__file__).parent / "migrations"))
    found = {Path(one.path).name.partition("_")[0]: one.revision for one in scripts.walk_revisions()}
    assert found == {number: number for number in found}
    assert scripts.get_current_head() == max(found)


@on_sqlite
def test_a_database_that_cannot_be_opened_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="cannot be used now"):
        open_engine(f"sqlite:///{tmp_path}/no/such/folder/a.sqlite")


# --- registry ---


def test_a_pseudonym_is_one_patients(desk: BridgeDesk) -> None:
    registry = desk.store.registry
    registry.enrol_person(GATEWAY, "p-1", "patient-1", care("1"))
    with pytest.raises(Rejected, match="another patient's"):
        registry.enrol_person(GATEWAY, "p-1", "patient-2", care("2"))


def test_new_keys_keep_the_count_of_messages(desk: BridgeDesk) -> None:
    severe(desk)
    (alert,) = desk.store.alerts.open_alerts()
    desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)
    renewed = GatewayKeys.generate().public
    desk.store.registry.enrol_gateway(EnrolledGateway(GATEWAY, SITE, renewed, "0" * 16), desk.now)
    known = desk.store.registry.gateway(GATEWAY)
    assert known is not None
    assert known.keys == renewed != gateway_keys().public
    assert [row["downlink_sequence"] for row in desk.table("gateway")] == [int(desk.now.timestamp())]
    assert desk.store.registry.gateway("gw-9") is None


# --- deliveries ---


def test_alerts_come_before_readings_and_a_row_is_claimed_once(desk: BridgeDesk) -> None:
    severe(desk)
    assert [c.key.kind for c in claim(desk)] == ["alert", "reading"]
    assert claim(desk) == []


def test_what_is_severe_goes_first_whenever_it_came(desk: BridgeDesk) -> None:
    home = SealingHome()
    desk.receive(home, home.seal(told(blood_pressure("84", "52", minutes=-15))))
    desk.wake(desk.now + 3 * SECOND)
    assert [a.finding.rule for a in desk.store.alerts.open_alerts()] == ["BP-LOW"]
    desk.now += SECOND
    desk.receive(home, home.seal(told(blood_pressure("192", "124", minutes=20), "p-2")))
    claimed = desk.store.deliveries.claim_deliveries(desk.now, 9)
    alerts = [desk.store.alerts.alert(c.key.subject) for c in claimed if c.key.kind == "alert"]
    assert [a.finding.rule for a in alerts if a is not None] == ["BP-SEVERE", "BP-LOW"]
    assert [c.key.kind for c in claimed] == ["alert", "alert", "reading", "reading"]


def test_two_workers_never_claim_the_same_row(desk: BridgeDesk) -> None:
    home = SealingHome()
    for minute in range(20):
        desk.receive(home, home.seal(told(blood_pressure("130", minutes=minute))))
    claimed: list[ClaimedDelivery] = []

    def work() -> None:
        while found := claim(desk, 3):
            claimed.extend(found)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(claimed) == len({c.key.subject for c in claimed}) == 20


def test_a_claim_whose_worker_died_runs_out(desk: BridgeDesk) -> None:
    severe(desk)
    first = claim(desk)
    desk.now += 121 * SECOND
    assert [c.key for c in claim(desk)] == [c.key for c in first]


def test_a_newer_revision_stays_due(desk: BridgeDesk) -> None:
    home = severe(desk)
    (alert, _) = claim(desk)
    desk.receive(home, home.seal(told(blood_pressure("190", "122", minutes=3))))
    desk.store.deliveries.mark_delivered(alert, desk.now)
    again = [c for c in claim(desk) if c.key.kind == "alert"]
    assert [(c.key, c.wanted) for c in again] == [(alert.key, 2)]
    desk.store.deliveries.mark_delivered(again[0], desk.now)
    assert [c.key.kind for c in claim(desk)] == []


def test_a_newer_revision_outlives_the_failure_of_an_older_one(desk: BridgeDesk) -> None:
    home = severe(desk)
    (alert, _) = claim(desk)
    desk.receive(home, home.seal(told(blood_pressure("190", "122", minutes=3))))
    desk.store.deliveries.mark_failed(alert, "refused", None)
    assert desk.store.alerts.dead_letters() == []
    assert [c.wanted for c in claim(desk) if c.key.kind == "alert"] == [2]


def test_a_failure_is_tried_again_later_and_a_refusal_is_a_dead_letter(desk: BridgeDesk) -> None:
    severe(desk)
    alert, filed = claim(desk)
    desk.store.deliveries.mark_failed(alert, "no answer", desk.now + 60 * SECOND)
    desk.store.deliveries.mark_failed(filed, "x" * 1000, None)
    assert claim(desk) == []
    desk.now += 61 * SECOND
    (again,) = claim(desk)
    assert (again.key, again.attempts) == (alert.key, 1)
    (letter,) = desk.store.alerts.dead_letters()
    assert (letter.key, len(letter.last_error)) == (filed.key, 500)
    assert desk.store.deliveries.waiting() == 1
    desk.store.deliveries.retry_dead(letter.key, desk.now)
    assert desk.store.alerts.dead_letters() == []
    assert [c.key for c in claim(desk)] == [filed.key]
    with pytest.raises(Rejected, match="no such dead letter"):
        desk.store.deliveries.retry_dead(letter.key, desk.now)


# --- what goes home ---


def test_a_message_that_came_too_late_is_not_sent(desk: BridgeDesk) -> None:
    severe(desk)
    (alert,) = desk.store.alerts.open_alerts()
    desk.store.alerts.acknowledge(alert.alert_id, "nurse-1", desk.now)
    (due,) = desk.store.outgoing.messages_due(10, desk.now)
    assert desk.store.outgoing.messages_due(10, desk.now + dt.timedelta(days=8)) == []
    desk.store.outgoing.message_published(due)
    assert desk.store.outgoing.messages_due(10, desk.now) == []


def test_history_and_who_a_patient_is(desk: BridgeDesk) -> None:
    severe(desk)
    (one,) = desk.store.alerts.history("patient-1", Quantity.BLOOD_PRESSURE, desk.now - dt.timedelta(days=14))
    assert one.patient == "patient-1"
    known = desk.store.alerts.known_as("patient-1")
    assert known is not None
    assert known.value == "1"
    assert desk.store.alerts.known_as("nobody") is None
    assert desk.store.counts()["measurements"] == 1
    assert desk.store.healthy()


@on_sqlite
def test_a_full_disk_is_unreachable_and_leaves_what_was(desk: BridgeDesk) -> None:
    home = severe(desk)
    before = desk.everything()
    with desk.store.engine.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
    one = home.seal(told(blood_pressure("130", minutes=5)))
    with pytest.raises(Unreachable, match="full"):
        desk.store.intake.accept(home.topic, one.data * 100, desk.now)
    assert desk.everything() == before


def test_a_worker_that_comes_late_undoes_nothing(desk: BridgeDesk) -> None:
    home = severe(desk)
    (slow, _) = claim(desk)
    desk.receive(home, home.seal(told(blood_pressure("190", "122", minutes=3))))
    desk.now += 121 * SECOND
    for quick in claim(desk):
        desk.store.deliveries.mark_delivered(quick, desk.now)
    desk.store.deliveries.mark_delivered(slow, desk.now)
    desk.store.deliveries.mark_failed(slow, "refused", None)
    assert claim(desk) == []
    assert desk.store.alerts.dead_letters() == []
    assert desk.store.deliveries.waiting() == 0
