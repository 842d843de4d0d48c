"""Who may ask what: the rows of the matrix against the real interface, cell by cell, under every condition."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from cloud_bridge.access import engine as engines
from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.endpoints import ENDPOINTS, Asks, No
from cloud_bridge.access.engine import Engine
from cloud_bridge.access.matrix import question
from cloud_bridge.access.model import Action, DataType, Role
from cloud_bridge.api.v1 import app
from cloud_bridge.api.v1.app import routes
from tests.doubles.api_caller import API, Caller, calling
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure, glucose, weight
from tests.doubles.page_visitor import visitor

ENGINE = Engine()
BODIES = {
    "/alerts/{alert_id}/resolve": {"outcome": "called"},
    "/dead-letters/retry": {"kind": "alert", "subject": str(UUID(int=1)), "destination": "fhir"},
}
QUANTITIES = {kind: quantity for quantity, kind in DATA_OF.items()}
CONDITIONS = list(product([False, True], repeat=3))


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


def someone(desk: BridgeDesk) -> UUID:
    """One person of whom there is a reading of each kind that consents speak of and a device here has."""
    home = SealingHome()
    for m in (
        blood_pressure("192", "124", minutes=10),
        glucose("2.6", minutes=11),
        weight("80.0", minutes=12),
    ):
        desk.receive(home, home.seal(told(m)))
    found = desk.store.alerts.open_alerts()
    return next(
        a.alert_id for a in found if a.finding.subject == "patient-1" and a.finding.rule == "BP-SEVERE"
    )


@pytest.mark.parametrize(("team", "consent", "own"), CONDITIONS)
async def test_each_role_is_answered_as_the_matrix_says(
    tmp_path: Path, *, team: bool, consent: bool, own: bool
) -> None:
    async with visitor(tmp_path, filled=False, accounts=True) as one:
        alert = someone(one.desk)
        told_of = {True: 0, False: 0}
        for role in Role:
            asks = calling(
                one, role.value, role, "1" if team else "elsewhere", *(["patient-1"] if own else [])
            )
            for kind in [None, *DataType]:
                if consent and kind is not None:
                    one.consent(role.value, kind)
                for cell in cells():
                    if cell.kind is kind:
                        expected = decided(role, cell, team=team, consent=consent, own=own)
                        assert await granted(asks, cell, alert) is expected, (role, cell)
                        told_of[expected] += 1
                if consent and kind is not None and kind is not DataType.ALERTS:
                    one.desk.store.access.withdraw_consent(
                        "patient-1", role.value, kind, by="p", now=one.desk.now
                    )
        assert min(told_of.values()) > 20  # neither all yes nor all no
        assert one.desk.store.access.broken_at() is None


def decided(role: Role, cell: Cell, *, team: bool, consent: bool, own: bool) -> bool:
    """What the policies say when asked directly: as a token asks."""
    asked = question(
        role,
        cell.asks.action,
        cell.kind,
        team=team,
        consent=consent,
        own=own,
        second_factor=False,
        by_token=True,
    )
    allowed = ENGINE.decide(asked).allowed
    if cell.asks.part == "evidence":  # the alert itself must be seen first
        alerts = question(
            role, Action.READ, DataType.ALERTS, team=team, consent=False, own=own, by_token=True
        )
        return allowed and ENGINE.decide(alerts).allowed
    return allowed


async def granted(asks: Caller, cell: Cell, alert: UUID) -> bool:
    """Send the request of a cell; whether it was answered with what it asks for."""
    path = cell.path.replace("{alert_id}", str(alert)).replace("{patient}", "patient-1")
    if cell.path == "/events":
        path += "?after=0"
    query = {"quantity": QUANTITIES[cell.kind].value} if cell.path.endswith("/readings") and cell.kind else {}
    if cell.method == "POST":
        answer = await asks.post(path, BODIES.get(cell.path), {"if-match": '"1000000"'})
    else:
        answer = await asks.get(path, **query)
    if answer.status_code == 403 or cell.asks.no is No.REFUSES:
        expected = {403} if answer.status_code == 403 else {200, 404, 412}
        assert answer.status_code in expected, (cell, answer.text)
        return answer.status_code != 403
    assert answer.status_code == 200, (cell, answer.text)
    return shows(answer, cell, alert)


def shows(answer: httpx.Response, cell: Cell, alert: UUID) -> bool:
    """Whether an answer that leaves out what is not allowed has what the cell asks for."""
    body = answer.json()
    if cell.asks.part == "evidence":
        return any(one["data"] == cell.kind for one in body["evidence"])
    if cell.path == "/patients":
        return any(one["patient"] == "patient-1" and cell.kind in one["may_read"] for one in body["items"])
    return any(one["alert_id"] == str(alert) for one in body["items"])


async def test_a_policy_that_fails_makes_every_answer_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forbid that overflows is skipped by Cedar, and everybody would be let in."""
    folder = Path(engines.__file__).parent
    text = (folder / "policies.cedar").read_text()
    broken = text + (
        '\n@id("everybody") permit (principal, action, resource);'
        "\nforbid (principal, action, resource) when { 9223372036854775807 + context.reasonLength > 0 };"
    )
    monkeypatch.setattr("cloud_bridge.api.room.Engine", lambda: Engine(broken))
    async with visitor(tmp_path, filled=False, accounts=True) as one:
        alert = someone(one.desk)
        one.consent("nurse", *DataType)
        asks = calling(one, "n1", Role.NURSE)
        for method, path in ENDPOINTS:
            where = path.replace("{alert_id}", str(alert)).replace("{patient}", "patient-1")
            answer = await asks.one.http.request(method, API + where, headers=asks.headers({"if-match": "*"}))
            assert answer.status_code in {403, 422 if path in BODIES else 403}, (path, answer.text)
            if path in BODIES:
                assert (await asks.post(where, BODIES[path], {"if-match": "*"})).status_code == 403
        assert one.told == []
