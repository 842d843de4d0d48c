"""A bridge without network: a real store and ingest, homes that seal, and a look at every table."""

import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

from cloud_bridge.access.texts import UTF8, Text
from cloud_bridge.alerts import Act, Actor, Move, Outcome
from cloud_bridge.connectors.base import CareContext, Identifier
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.ingest import Ingest
from cloud_bridge.rules.base import Queue, Reading
from cloud_bridge.steps import StepObserver, nobody
from cloud_bridge.store import rows, schema
from cloud_bridge.store.base import EnrolledGateway, Stated
from cloud_bridge.store.engine import reading as reading_only
from cloud_bridge.store.sql import SqlStore
from tests.doubles.bridge_home import GATEWAY, SITE, SealingHome
from tests.doubles.bridge_readings import BOOT, NOW
from tests.doubles.databases import Databases
from tests.doubles.edge_readings import bridge_keys, gateway_keys
from wire_format.codec import Item
from wire_format.downlink import DownlinkHeader, Message, seal_downlink
from wire_format.envelope import Sealed
from wire_format.identity import derived_id
from wire_format.keys import SealKey
from wire_format.measurement import Instant, Measurement
from wire_format.statements import Assignment, Redating

DESTINATION = "fhir"
OFFERED = "2026-1"
AGREED = {
    version: (
        Text("en", UTF8, f"What is agreed to, version {version}".encode()),
        Text("zh-Hans", UTF8, f"同意的内容 {version}".encode()),
    )
    for version in ("1", "2026-1")
}


def care(number: str) -> CareContext:
    who = Identifier("https://hospital.example/id/patient", number)
    staff = Identifier("https://hospital.example/id/staff", "1")
    return CareContext(who, staff, staff, staff, "en")


def sealer(message: Message, header: DownlinkHeader, recipient: SealKey) -> bytes:
    return seal_downlink(message, header, bridge_keys().messages, recipient)


class BridgeDesk:
    """A store in a folder with one enrolled home and two patients; `now` moves only by hand."""

    def __init__(
        self,
        folder: Path,
        observer: StepObserver = nobody,
        *,
        destinations: Sequence[str] = (DESTINATION,),
        duty: Duty = ALWAYS,
        consent_needed: Mapping[str, str] = MappingProxyType({}),
        zone: str = "UTC",
    ) -> None:
        self.now = NOW + dt.timedelta(minutes=30)
        url = Databases.of(folder)
        self.store = SqlStore(
            url,
            sealer,
            tuple(destinations),
            zone=zone,
            duty=duty,
            consent_needed=consent_needed,
            texts=AGREED,
            offered=OFFERED,
            clock=lambda: self.now,
        )
        self.ingest = Ingest(
            self.store.intake, self.store.registry, bridge_keys().by_id, lambda: self.now, observer
        )
        self.enrol(GATEWAY)

    def enrol(self, gateway: str) -> None:
        keys = gateway_keys().public
        self.store.registry.enrol_gateway(EnrolledGateway(gateway, SITE, keys, "dca632fffe010203"), self.now)
        for number in ("1", "2"):
            self.store.registry.enrol_person(gateway, f"p-{number}", f"patient-{number}", care(number))

    def join(self, patient: str, *programmes: str) -> None:
        """Put a patient into programmes now, and judge what follows."""
        self.store.registry.join(patient, programmes, Stated("physician-1", "agreed", self.now))
        self.wake()

    def agree(self, patient: str, rule: str, parameter: str, value: str) -> bool:
        """Give a patient their own value (JSON), and judge what follows."""
        new = self.store.registry.agree(patient, rule, parameter, value, Stated("physician-1", "x", self.now))
        self.wake()
        return new

    def wake(self, at: dt.datetime | None = None) -> None:
        """Let the time be `at`, and judge whoever's timer has run out."""
        self.now = at or self.now
        self.ingest.judge_again(self.store.intake.timers_due(self.now))

    def resolve(self, alert: UUID, by: str = "nurse-1", outcome: Outcome = Outcome.CALLED) -> bool:
        """Let somebody at the page resolve an item; whether that held."""
        act = Act(Move.RESOLVE, Actor.PERSON, self.now, by, outcome)
        return self.store.alerts.move(alert, act).held

    def queue(self, queue: Queue = Queue.CLINICAL) -> list[tuple[str, str]]:
        """The rule and the variant of each open item of a queue."""
        found = self.store.alerts.open_alerts(queue)
        return sorted((a.finding.rule, dict(a.finding.reason)["text"]) for a in found)

    def receive(self, home: SealingHome, *sealed: Sealed) -> None:
        """Let envelopes arrive, and take them one after the other."""
        for one in sealed:
            self.store.intake.accept(home.topic, one.data, self.now)
        self.ingest.drain()

    def receive_bytes(self, topic: str, data: bytes) -> None:
        self.store.intake.accept(topic, data, self.now)
        self.ingest.drain()

    def readings(self) -> list[Reading]:
        table = schema.measurement
        with reading_only(self.store.engine) as connection:
            return rows.readings(connection, connection.execute(table.select().order_by(table.c.id)).all())

    def table(self, name: str) -> list[dict[str, Any]]:
        found = schema.metadata.tables[name]
        with reading_only(self.store.engine) as connection:
            query = found.select().order_by(*found.primary_key)
            return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public way to a dict

    def everything(self) -> dict[str, list[str]]:
        """Every row of every table, for comparison; row numbers and the inbox aside."""
        tables = [t.name for t in schema.metadata.sorted_tables if t.name not in {"inbox", "alert_history"}]
        return {name: sorted(map(_unnumbered, self.table(name))) for name in tables}

    def close(self) -> None:
        self.store.close()


def _unnumbered(row: dict[str, Any]) -> str:
    """A row without the number that the engine gave it: what was undone may have used some up."""
    numbers = {"position"} | ({"id"} if isinstance(row.get("id"), int) else set())
    return str({name: value for name, value in row.items() if name not in numbers})


def assigned(m: Measurement, person: str | None = "p-1", *, later: int = 0) -> Assignment:
    """Whose a measurement is, said `later` seconds after NOW."""
    return Assignment(
        statement_id=derived_id("test", m.measurement_id, str(person), later),
        measurement_id=m.measurement_id,
        person=person,
        author=GATEWAY,
        stated_at=NOW + dt.timedelta(seconds=later),
        reason="said in a test",
    )


def redated(m: Measurement, at: dt.datetime) -> Redating:
    return Redating(
        statement_id=derived_id("test", m.measurement_id, at),
        moment=Instant(utc=at, uncertainty_ms=1000),
        author="nurse-1",
        stated_at=NOW,
        reason="said in a test",
        measurement_id=m.measurement_id,
    )


def anchor(at: dt.datetime, monotonic_ns: int) -> Redating:
    return Redating(
        statement_id=derived_id("test", "anchor", monotonic_ns),
        moment=Instant(utc=at, uncertainty_ms=50),
        author=GATEWAY,
        stated_at=NOW,
        reason="the gateway's clock was set",
        boot_id=BOOT,
        monotonic_ns=monotonic_ns,
    )


def told(m: Measurement, person: str | None = "p-1") -> Sequence[Item]:
    """A measurement as a home sends it: with whose it is."""
    return (m, assigned(m, person))
