"""Delivery and work orders over the real store: until 2xx, once each, and what people did comes back."""

import asyncio
import datetime as dt
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cloud_bridge.alerts import Act, Alert, AlertState, Outcome, Request
from cloud_bridge.cli import app
from cloud_bridge.connectors.base import Connector, Order, ReadingOrder, WorkReport, WorkState
from cloud_bridge.delivery import LONGEST_PAUSE_S, DeliveryLoop
from cloud_bridge.rules.care import CareRole
from cloud_bridge.steps import Step
from cloud_bridge.store.base import Taken
from cloud_bridge.work_orders import AT_A_TIME, WorkOrders
from service_kit.key_files import write_private
from service_kit.log import silent
from tests.doubles.bridge_connector import ScriptedConnector
from tests.doubles.bridge_desk import BridgeDesk, assigned, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import NOW, blood_pressure
from tests.doubles.databases import Databases
from tests.doubles.edge_readings import bridge_keys
from wire_format.errors import Misconfigured, Rejected, Unreachable

pytestmark = pytest.mark.usefixtures("each_engine")

FAILURES = [Unreachable("no answer"), Misconfigured("who are you"), KeyError("a bug of ours")]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    made = BridgeDesk(tmp_path)
    home = SealingHome()
    made.receive(home, home.seal(told(blood_pressure("192", "124"))))
    yield made
    made.close()


def loop(desk: BridgeDesk, connector: ScriptedConnector, steps: list[Step] | None = None) -> DeliveryLoop:
    def observe(step: Step, _facts: object) -> None:
        if steps is not None:
            steps.append(step)

    return DeliveryLoop(desk.store.deliveries, {"fhir": connector}, lambda: desk.now, observe, log=silent())


async def end(running: asyncio.Task[None]) -> None:
    """End a loop, and what it still asks of the store in another thread."""
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_everything_due_is_delivered_once(desk: BridgeDesk) -> None:
    connector, steps = ScriptedConnector(), []
    one = loop(desk, connector, steps)
    assert await one.round() == 2
    assert await one.round() == 0
    assert len(connector.alerts) == 1
    assert len(connector.taken) == 2
    assert sorted(set(steps)) == sorted({Step.DELIVERY_CLAIMED, Step.DELIVERY_CONFIRMED, Step.DELIVERED})
    assert desk.store.deliveries.waiting() == 0
    order = next(o for o in connector.taken if isinstance(o, ReadingOrder))
    assert order.care.patient.value == "1"
    assert order.gateway.system_id == "dca632fffe010203"


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_fails_is_tried_again_later(desk: BridgeDesk, failure: Exception) -> None:
    connector = ScriptedConnector(failure)
    one = loop(desk, connector)
    await one.round()
    assert len(connector.taken) == 1
    assert await one.round() == 0
    desk.now += dt.timedelta(seconds=3)
    assert await one.round() == 1
    assert len(connector.taken) == 2
    assert desk.store.alerts.dead_letters() == []


async def test_pauses_grow_and_are_bounded(desk: BridgeDesk) -> None:
    connector = ScriptedConnector(*[Unreachable("no answer")] * 60)
    one = loop(desk, connector)
    for _ in range(30):
        await one.round()
        desk.now += dt.timedelta(seconds=LONGEST_PAUSE_S + 1)
    assert connector.failures == []
    assert await one.round() == 2
    assert len(connector.taken) == 2


async def test_what_is_refused_is_a_dead_letter_that_people_can_retry(desk: BridgeDesk) -> None:
    connector = ScriptedConnector(Rejected("unknown patient"), Rejected("unknown patient"))
    one = loop(desk, connector)
    await one.round()
    letters = desk.store.alerts.dead_letters()
    assert [letter.last_error for letter in letters] == ["unknown patient"] * 2
    desk.now += dt.timedelta(days=1)
    assert await one.round() == 0
    for letter in letters:
        desk.store.deliveries.retry_dead(letter.key, desk.now)
    assert await one.round() == 2
    assert len(connector.taken) == 2


@pytest.mark.parametrize("each_engine", ["sqlite"], indirect=True)
async def test_a_dead_letter_is_seen_and_tried_again_from_the_command_line(
    desk: BridgeDesk, tmp_path: Path
) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    config = tmp_path / "bridge.toml"
    config.write_text(f"""
site = "ward"
state = "{tmp_path}"
database = "{Databases.of(tmp_path)}"
keys = {{ bridge = "{tmp_path}/bridge.key" }}
broker = {{ host = "127.0.0.1", port = 1883 }}
fhir = {{ base_url = "http://127.0.0.1:1/fhir" }}
""")

    def command(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(config)])

    connector = ScriptedConnector(Rejected("unknown patient"), Rejected("unknown patient"))
    await loop(desk, connector).round()
    letters = json.loads(command("status").output)["dead_letters"]
    assert sorted((one["kind"], one["error"]) for one in letters) == [
        ("alert", "unknown patient"),
        ("reading", "unknown patient"),
    ]
    for one in letters:
        done = command("retry", one["kind"], one["subject"], one["destination"])
        assert (done.exit_code, done.output) == (0, "")
    status = json.loads(command("status").output)
    assert (status["dead_letters"], status["deliveries_waiting"]) == ([], 2)
    desk.now = dt.datetime.now(dt.UTC)
    assert await loop(desk, connector).round() == 2
    assert json.loads(command("status").output)["deliveries_waiting"] == 0


async def test_a_reading_that_is_nobodys_any_more_is_not_filed(desk: BridgeDesk) -> None:
    connector = ScriptedConnector()
    home = SealingHome(outbox=2)
    m = blood_pressure("192", "124")
    desk.receive(home, home.seal([assigned(m, None, later=60)]))
    await loop(desk, connector).round()
    assert [o for o in connector.taken if isinstance(o, ReadingOrder)] == []
    assert [o.alert.state for o in connector.alerts] == [AlertState.WITHDRAWN]


async def test_without_a_connector_it_waits(desk: BridgeDesk) -> None:
    one = DeliveryLoop(desk.store.deliveries, {}, lambda: desk.now, log=silent())
    await one.round()
    assert desk.store.deliveries.waiting() == 2


async def test_the_loop_wakes_at_once(desk: BridgeDesk) -> None:
    connector = ScriptedConnector()
    one = loop(desk, connector)
    running = asyncio.create_task(one.run())
    async with asyncio.timeout(10):
        while len(connector.taken) < 2:  # noqa: ASYNC110 - the store is asked in another thread
            await asyncio.sleep(0.01)
        home = SealingHome(outbox=2)
        desk.receive(home, home.seal(told(blood_pressure("130", minutes=5))))
        one.wake()
        while len(connector.taken) < 3:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    await end(running)


class Stuck(ScriptedConnector):
    """A system that never comes to an end with what it was given."""

    async def deliver(self, order: Order) -> None:
        self.taken.append(order)
        await asyncio.Event().wait()


async def test_a_system_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    both = BridgeDesk(tmp_path, destinations=("fhir", "stuck", "gone"))
    connector, stuck, home = ScriptedConnector(), Stuck(), SealingHome()
    connectors: dict[str, Connector] = {"stuck": stuck, "fhir": connector}
    for minute in range(3):
        both.receive(home, home.seal(told(blood_pressure("192", "124", minutes=minute))))
    one = DeliveryLoop(both.store.deliveries, connectors, lambda: both.now, log=silent())
    running = asyncio.create_task(one.run())
    async with asyncio.timeout(20):
        while not stuck.taken or len(connector.taken) < 4:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
        both.receive(home, home.seal(told(blood_pressure("130", minutes=30))))
        one.wake()
        while len(connector.taken) < 5:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    await end(running)
    errors = [row["last_error"] for row in both.table("delivery") if row["destination"] == "gone"]
    assert any("No connector is configured" in (error or "") for error in errors)
    both.close()


# --- what people did ---


async def orders(desk: BridgeDesk, connector: ScriptedConnector, heard: list[bool]) -> WorkOrders:
    await loop(desk, connector).round()
    return WorkOrders(
        desk.store.alerts,
        desk.store.first_visits,
        connector,
        lambda: desk.now,
        interval_s=0.01,
        log=silent(),
        on_acknowledged=lambda: heard.append(True),
    )


async def test_the_nurses_own_system_acknowledges_and_closes(desk: BridgeDesk) -> None:
    connector, heard = ScriptedConnector(), []
    asking = await orders(desk, connector, heard)
    (alert,) = desk.store.alerts.open_alerts()
    for state, expected in [
        (WorkState.WAITING, AlertState.OPEN),
        (WorkState.REFUSED, AlertState.OPEN),
        (WorkState.ACCEPTED, AlertState.ACKNOWLEDGED),
        (WorkState.ACCEPTED, AlertState.ACKNOWLEDGED),
        (WorkState.COMPLETED, AlertState.RESOLVED),
    ]:
        connector.reports = [WorkReport(alert.alert_id, state, "Practitioner/7", desk.now)]
        await asking.round()
        now = desk.store.alerts.alert(alert.alert_id)
        assert now is not None
        assert now.state is expected
    assert heard == [True, True, True]  # given back, taken, finished
    assert now.acknowledged_by == "Practitioner/7"
    # What is finished is not asked about any more.
    asked = len(connector.asked)
    await asking.round()
    assert len(connector.asked) == asked


async def test_work_that_is_given_back_is_the_next_roles_and_the_outcome_is_kept(desk: BridgeDesk) -> None:
    connector, heard = ScriptedConnector(), []
    asking = await orders(desk, connector, heard)
    (alert,) = desk.store.alerts.open_alerts()

    async def says(state: WorkState, **more: Any) -> Alert:
        connector.reports = [WorkReport(alert.alert_id, state, "Practitioner/7", desk.now, **more)]
        await asking.round()
        now = desk.store.alerts.alert(alert.alert_id)
        assert now is not None
        return now

    first = Request()
    begun = await says(WorkState.BEGUN, request=first)
    assert (begun.state, begun.acknowledged_by) == (AlertState.IN_PROGRESS, "Practitioner/7")
    given = await says(WorkState.REFUSED, request=first)
    assert (given.state, given.request, given.acknowledged_by) == (AlertState.OPEN, (0, 1), None)
    # The same report again, and other old ones, are about the asking before; and nobody is left to ask.
    for state in (WorkState.REFUSED, WorkState.ACCEPTED, WorkState.BEGUN):
        assert await says(state, request=first) == given
    assert await says(WorkState.REFUSED, request=Request(0, 1)) == given
    done = await says(WorkState.COMPLETED, request=Request(0, 1), outcome=Outcome.ADMITTED)
    assert (done.state, done.outcome, done.moved_by) == (
        AlertState.RESOLVED,
        Outcome.ADMITTED,
        "Practitioner/7",
    )
    assert heard == [True, True, True]
    said = [(e.what, e.reason) for e in desk.store.alerts.events(alert.alert_id)]
    assert said[2] == ("escalated", "given back in the hospital's system")


async def test_a_hospital_whose_clock_is_ahead_holds_up_nothing(desk: BridgeDesk) -> None:
    connector, heard = ScriptedConnector(), []
    asking = await orders(desk, connector, heard)
    (alert,) = desk.store.alerts.open_alerts()
    tomorrow = desk.now + dt.timedelta(days=1)
    connector.reports = [WorkReport(alert.alert_id, WorkState.REFUSED, "Practitioner/7", tomorrow)]
    await asking.round()
    (given,) = desk.store.alerts.open_alerts()
    assert (given.request, given.moved_at) == (Request(0, 1), desk.now)
    assert given.due_at == desk.now + (alert.due_at - alert.raised_at)
    # The next role is asked now.
    before = len(connector.alerts)
    await loop(desk, connector).round()
    assert [order.asked for order in connector.alerts[before:]] == [CareRole.PHYSICIAN]


async def test_whoever_is_given_a_work_order_there_is_on_record_here(desk: BridgeDesk) -> None:
    connector, heard = ScriptedConnector(), []
    asking = await orders(desk, connector, heard)
    (alert,) = desk.store.alerts.open_alerts()

    async def report(state: WorkState, by: str, times: int = 0) -> list[str | None]:
        desk.now += dt.timedelta(minutes=1)
        connector.reports = [WorkReport(alert.alert_id, state, by, desk.now, None, Request(0, times))]
        await asking.round()
        return [e.by for e in desk.store.alerts.events(alert.alert_id) if e.what == "given_to"]

    # Whom we asked is no news; whom a nurse gives it to is, before it is taken and after.
    assert await report(WorkState.WAITING, "P/1") == []
    assert await report(WorkState.WAITING, "P/2") == ["P/2"]
    assert await report(WorkState.WAITING, "P/2") == ["P/2"]
    assert await report(WorkState.BEGUN, "P/3") == ["P/2"]  # that it was begun says by whom
    asking._owners.clear()  # noqa: SLF001 - a restart forgets what the store does not
    assert await report(WorkState.BEGUN, "P/3") == ["P/2"]
    assert await report(WorkState.BEGUN, "P/4") == ["P/2", "P/4"]
    (now,) = desk.store.alerts.open_alerts()
    assert (now.state, now.acknowledged_by) == (AlertState.IN_PROGRESS, "P/3")
    # Given back: the next role is asked, by us.
    assert await report(WorkState.REFUSED, "P/4") == ["P/2", "P/4"]
    assert await report(WorkState.WAITING, "P/9", 1) == ["P/2", "P/4"]
    assert await report(WorkState.WAITING, "P/8", 1) == ["P/2", "P/4", "P/8"]
    assert await report(WorkState.COMPLETED, "P/7", 1) == ["P/2", "P/4", "P/8"]


async def test_asking_goes_on_when_the_system_is_away(desk: BridgeDesk) -> None:
    connector, heard = ScriptedConnector(), []
    asking = await orders(desk, connector, heard)
    failures = [Unreachable("away"), Misconfigured("who are you"), Rejected("what"), KeyError("nonsense")]
    connector.failures = [*failures]
    running = asyncio.create_task(asking.run())
    async with asyncio.timeout(10):
        while len(connector.asked) < 6:  # noqa: ASYNC110 - the store is asked in another thread
            await asyncio.sleep(0.01)
    await end(running)


async def test_nothing_is_asked_before_the_system_has_it(desk: BridgeDesk) -> None:
    connector = ScriptedConnector()
    asking = WorkOrders(
        desk.store.alerts,
        desk.store.first_visits,
        connector,
        lambda: desk.now,
        interval_s=1,
        log=silent(),
        on_acknowledged=list,
    )
    await asking.round()
    assert connector.asked == []


class Ward:
    """Live alerts of which nobody ever hears anything, and no visits."""

    def __init__(self, count: int) -> None:
        self.live = [UUID(int=7919 * number % 100_003 + 1) for number in range(count)]

    def delivered_alerts(self) -> list[UUID]:
        return self.live

    def delivered_visits(self) -> list[UUID]:
        return []

    def take_report(self, report: WorkReport, now: dt.datetime) -> bool:
        raise AssertionError(f"nothing was reported, and {report} was taken at {now}")

    def move(self, alert_id: UUID, act: Act) -> Taken:
        raise AssertionError(f"nothing was reported, and {act.move} of {alert_id} was made")

    def owned(self, report: WorkReport, destination: str, now: dt.datetime, *, moved: bool) -> bool:
        raise AssertionError(f"nothing was reported, and {report} was noted of {destination}, {now}, {moved}")


async def test_of_very_many_work_orders_each_gets_its_turn() -> None:
    ward, connector = Ward(AT_A_TIME * 2 + 50), ScriptedConnector()
    asking = WorkOrders(ward, ward, connector, lambda: NOW, interval_s=1, log=silent(), on_acknowledged=list)
    for _ in range(2):
        await asking.round()
    first, second = connector.asked
    assert (len(first), len(second)) == (AT_A_TIME, AT_A_TIME)
    assert set(first).isdisjoint(second)
    gone = set(ward.live[:30])
    ward.live = ward.live[30:]
    await asking.round()
    assert {*first, *second, *connector.asked[2]} | gone == {*ward.live, *gone}
    ward.live = ward.live[:AT_A_TIME]
    await asking.round()
    assert list(connector.asked[3]) == ward.live
