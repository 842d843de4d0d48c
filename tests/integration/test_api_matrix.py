"""Who may ask what: each cell of the matrix as a request to the real interface, under every condition."""

import asyncio
import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, update

from cloud_bridge.access import engine as engines
from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.endpoints import ENDPOINTS, EQUIPMENT, EVIDENCE, UNKNOWN, Asks, No
from cloud_bridge.access.engine import Engine
from cloud_bridge.access.matrix import question
from cloud_bridge.access.model import ON_PATIENTS, Action, DataType, Role
from cloud_bridge.api.v1 import app
from cloud_bridge.api.v1.app import routes
from cloud_bridge.api.v1.events import CAUGHT_UP
from cloud_bridge.store import schema
from tests.doubles.api_caller import API, Caller, calling
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure, glucose, weight
from tests.doubles.page_visitor import HOST, visitor
from tests.doubles.served_page import UNBOUNDED
from wire_format.identity import derived_id
from wire_format.measurement import Component, Measurement
from wire_format.nomenclature import Quantity, Term, Unit

ENGINE = Engine()
BODIES = {
    "/alerts/{alert_id}/resolve": {"outcome": "called"},
    "/dead-letters/retry": {"kind": "alert", "subject": str(UUID(int=1)), "destination": "fhir"},
}
QUANTITIES = {kind: quantity for quantity, kind in DATA_OF.items()}
Known = dict[str, httpx.Response | str]
OF_PATIENTS = {Role.PATIENT, Role.DELEGATE}


@dataclass(frozen=True)
class Cell:
    """One request of one role, and what the policies say of it."""

    method: str
    path: str
    asks: Asks
    kind: DataType | None


def cells() -> Iterator[Cell]:
    for (method, path), questions in ENDPOINTS.items():
        for asks in questions:
            for kind in asks.kinds or (None,):
                yield Cell(method, path, asks, kind)


EVIDENCE_CELLS = [cell for cell in cells() if cell.asks.part == EVIDENCE]


def test_no_route_is_without_its_row() -> None:
    served = {
        (method, route.path)  # type: ignore[attr-defined]  # a route
        for route in routes().routes
        for method in getattr(route, "methods", ())
        if method != "HEAD"
    }
    assert served - {("GET", "/openapi.json")} == set(ENDPOINTS)
    api = routes()
    with pytest.raises(KeyError, match="everything"):
        app.add(api, "GET", "/everything", lambda: None, None, "Read everything")


@dataclass(frozen=True)
class Alerts:
    """One alert of each part: of the patient, with evidence of every kind; of nobody known; of equipment."""

    patient: UUID
    unknown: UUID
    equipment: UUID

    def of(self, part: str) -> UUID:
        return {UNKNOWN: self.unknown, EQUIPMENT: self.equipment}.get(part, self.patient)


def fill(desk: BridgeDesk) -> Alerts:
    """One person with readings of every kind, all of them evidence of one alert; and two alerts of nobody."""
    # Thousands of requests, each on record: that the disk has each is another test's matter.
    event.listen(desk.store.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=OFF"))
    desk.store.engine.dispose()
    home, warm, sated = SealingHome(), temperature(), saturation()
    own = (blood_pressure("192", "124", minutes=10), glucose("6.1", minutes=11), weight("80", minutes=12))
    for m in (*own, warm, sated):
        desk.receive(home, home.seal(told(m)))
    for minutes, systolic in ((13, "190"), (600, "195")):
        desk.now += dt.timedelta(minutes=minutes)
        desk.receive(home, home.seal([blood_pressure(systolic, "101", minutes=minutes)]))
    by_subject: dict[str, list[UUID]] = {}
    for one in desk.store.alerts.open_alerts():
        by_subject.setdefault(one.finding.subject, []).append(one.alert_id)
    found = Alerts(by_subject["patient-1"][0], *by_subject["home:gw-1"][:2])
    evidence = json.dumps([str(m.measurement_id) for m in (*own, warm, sated)])
    with desk.store.engine.begin() as connection:
        equipment = update(schema.alert).where(schema.alert.c.id == found.equipment)
        connection.execute(equipment.values(subject="gateway:gw-1"))
        mine = update(schema.alert).where(schema.alert.c.id == found.patient)
        connection.execute(mine.values(evidence=evidence))
    return found


def temperature() -> Measurement:
    return _other(Quantity.BODY_TEMPERATURE, Term.BODY_TEMPERATURE, Unit.CELSIUS, "36.6")


def saturation() -> Measurement:
    return _other(Quantity.PULSE_OXIMETRY, Term.OXYGEN_SATURATION, Unit.PERCENT, "97")


def _other(quantity: Quantity, term: Term, unit: Unit, value: str) -> Measurement:
    like = weight("1", minutes=20)
    changes = {
        "measurement_id": derived_id("test", quantity.value),
        "quantity": quantity,
        "components": (Component(term=term, unit=unit, value=Decimal(value)),),
        "context": None,
    }
    return like.model_copy(update=changes)


@pytest.mark.parametrize("consent", [False, True], ids=["nothing-agreed", "agreed"])
@pytest.mark.parametrize("near", [False, True], ids=["stranger", "team-or-own"])
async def test_each_role_is_answered_as_the_matrix_says(tmp_path: Path, *, near: bool, consent: bool) -> None:
    """What is asked of the site depends on the role alone: it is asked once."""
    async with visitor(tmp_path, filled=None, accounts=True, per_minute=UNBOUNDED) as one:
        alerts, said = fill(one.desk), Counter[bool]()
        for role in Role:
            own, team = near and role in OF_PATIENTS, near and role not in OF_PATIENTS
            asks = calling(
                one, role.value, role, "1" if team else "elsewhere", *(["patient-1"] if own else [])
            )
            for kinds, same in by_consent(alone=near and consent).items():
                with agreed(one.desk, role, kinds if consent else ()):
                    known: Known = {}
                    others = EVIDENCE_CELLS if consent and kinds == (DataType.ALERTS,) else []
                    for cell in [*same, *others]:  # the alert is consented to, but not what it stands on
                        told = consent and cell not in others
                        expected = decided(role, cell, team=team, consent=told, own=own)
                        assert await granted(asks, cell, alerts, known) is expected, (role, cell)
                        said[expected] += 1
        assert said[False] > 100
        assert (said[True] > 100) is (near and consent)
        assert one.desk.store.access.broken_at() is None


def by_consent(*, alone: bool) -> dict[tuple[DataType, ...], list[Cell]]:
    """Cells by the consents that they take, each `alone`; or all at once, without what the site is asked.

    A stranger to whom everything is agreed must be refused as well, and one request shows it for every kind.
    """
    if not alone:
        return {tuple(DataType): [cell for cell in cells() if cell.asks.action in ON_PATIENTS]}
    found: dict[tuple[DataType, ...], list[Cell]] = {}
    for cell in cells():
        alerts = [DataType.ALERTS] if cell.asks.part == EVIDENCE else []
        found.setdefault(tuple(k for k in (cell.kind, *alerts) if k is not None), []).append(cell)
    return found


@contextmanager
def agreed(desk: BridgeDesk, role: Role, kinds: Iterable[DataType]) -> Iterator[None]:
    """Consent to some kinds for a role, and to nothing else, for a while."""
    access = desk.store.access
    for kind in kinds:
        access.give_consent("patient-1", role.value, kind, text_version="1", by="p", now=desk.now)
    yield
    for kind in kinds:
        access.withdraw_consent("patient-1", role.value, kind, by="p", now=desk.now)


def decided(role: Role, cell: Cell, *, team: bool, consent: bool, own: bool) -> bool:
    """What the policies say when they are asked directly, as a token asks."""

    def allows(action: Action, kind: DataType | None) -> bool:
        how = {"second_factor": False, "by_token": True}
        asked = question(role, action, kind, team=team, consent=consent, own=own, **how)
        return ENGINE.decide(asked).allowed

    seen = cell.asks.part != EVIDENCE or allows(Action.READ, DataType.ALERTS)
    return seen and allows(cell.asks.action, cell.kind)


async def granted(asks: Caller, cell: Cell, alerts: Alerts, known: Known) -> bool:
    """Send the request of a cell, once; whether it was answered with what it asks for."""
    alert = alerts.of(cell.asks.part)
    path = cell.path.replace("{alert_id}", str(alert)).replace("{patient}", "patient-1")
    if cell.path.endswith("/readings") and cell.kind is not None:
        path = f"{path}?quantity={QUANTITIES[cell.kind].value}"
    if path not in known:
        known[path] = await sent(asks, cell, path)
    answer = known[path]
    if isinstance(answer, str):
        return str(alert) in answer
    if cell.asks.no is No.REFUSES:
        assert answer.status_code in {200, 403, 404, 412}, (cell, answer.text)
        return answer.status_code != 403
    if cell.asks.part == EVIDENCE and answer.status_code == 403:
        return False
    assert answer.status_code == 200, (cell, answer.text)
    return shows(answer, cell, alert)


async def sent(asks: Caller, cell: Cell, path: str) -> httpx.Response | str:
    """Send it; return the answer, or what a stream said."""
    if cell.path == "/events":
        return await streamed(asks, f"{API}{path}")
    if cell.method == "POST":
        return await asks.post(path, BODIES.get(cell.path), {"if-match": '"1000000"'})
    return await asks.one.http.get(API + path, headers=asks.headers(None))


def shows(answer: httpx.Response, cell: Cell, alert: UUID) -> bool:
    """Whether an answer that leaves out what is not allowed has what the cell asks for."""
    body = answer.json()
    if cell.asks.part == EVIDENCE:
        return any(one["data"] == cell.kind for one in body["evidence"])
    if cell.path == "/patients":
        return any(one["patient"] == "patient-1" and cell.kind in one["may_read"] for one in body["items"])
    return any(one["alert_id"] == str(alert) for one in body["items"])


async def streamed(asks: Caller, path: str) -> str:
    """What a stream says of all that happened so far; then whoever listened goes away."""
    said, enough = "", asyncio.Event()
    asked = [b""]

    async def receive() -> dict[str, object]:
        if asked:
            return {"type": "http.request", "body": asked.pop()}
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal said
        assert message.get("status", 200) == 200
        said += message.get("body", b"").decode()
        if CAUGHT_UP in said:
            enough.set()

    headers = {**asks.headers(None), "host": HOST}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"after=0",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8600),
    }
    async with asyncio.timeout(20):
        await asks.one.app(scope, receive, send)
    return said


async def test_a_policy_that_fails_makes_every_answer_no(
    tmp_path: Path,
) -> None:
    """A forbid that overflows is skipped by Cedar, and everybody would be let in."""
    folder = Path(engines.__file__).parent
    text = (folder / "policies.cedar").read_text()
    broken = text + (
        '\n@id("everybody") permit (principal, action, resource);'
        "\nforbid (principal, action, resource) when { 9223372036854775807 + context.reasonLength > 0 };"
    )
    async with visitor(tmp_path, filled=None, accounts=True, policies=broken) as one:
        alert = fill(one.desk).patient
        one.consent("nurse", *DataType)
        asks = calling(one, "n1", Role.NURSE)
        for method, path in ENDPOINTS:
            where = path.replace("{alert_id}", str(alert)).replace("{patient}", "patient-1")
            answer = await asks.one.http.request(method, API + where, headers=asks.headers({"if-match": "*"}))
            assert answer.status_code in {403, 422 if path in BODIES else 403}, (path, answer.text)
            if path in BODIES:
                assert (await asks.post(where, BODIES[path], {"if-match": "*"})).status_code == 403
        assert one.told == []
