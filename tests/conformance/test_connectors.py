"""Every connector meets the same receivers: willing, refusing, busy, silent, slow, breaking off, babbling.

A connector of a new kind is a row in RECEIVERS, with a receiver that speaks its protocol
(docs/add_a_connector.md).
"""

import asyncio
import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_bridge.connectors.base import Order, WithdrawnReading
from cloud_bridge.delivery import DeliveryLoop
from cloud_bridge.destinations import Destinations
from service_kit.log import silent
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_orders import alert_order, order, reminder_order, visit_order
from tests.doubles.bridge_readings import blood_pressure, reading
from tests.doubles.receivers import RECEIVERS, Behaviour, receiving
from wire_format.errors import KitelineError, Misconfigured, Rejected, Unreachable
from wire_format.measurement import GlucoseContext

every_connector = pytest.mark.parametrize("kind", RECEIVERS)
ORDERS: dict[str, Callable[[], Order]] = {
    "reading": lambda: order(reading("142", "91")),
    "revision": lambda: order(reading("142", "91"), revision=2),
    "alert": alert_order,
}
OF_A_PLAN: dict[str, Callable[[], Order]] = {"visit": visit_order, "reminder": reminder_order}
"""What a discharge plan asks for: not every system has a use for it, as HL7 v2 has no message of ours."""


def test_every_kind_of_follow_up_system_meets_this_suite() -> None:
    assert set(RECEIVERS) == set(Destinations.model_fields)


@every_connector
@pytest.mark.parametrize("what", ORDERS)
@pytest.mark.parametrize("how", [Behaviour.TAKE, Behaviour.TAKE_SLOWLY])
async def test_what_is_taken_is_delivered(kind: str, what: str, how: Behaviour) -> None:
    async with receiving(kind, how) as (receiver, connector):
        await connector.deliver(ORDERS[what]())
        assert receiver.ids


@every_connector
@pytest.mark.parametrize("what", OF_A_PLAN)
async def test_what_a_discharge_plan_asks_for_is_the_same_again_or_nothing(kind: str, what: str) -> None:
    async with receiving(kind) as (receiver, connector):
        await connector.deliver(OF_A_PLAN[what]())
        once = list(receiver.ids)
        await connector.deliver(OF_A_PLAN[what]())
        assert receiver.ids == once * 2
        assert len(once) == (kind in {"fhir", "webhook"})


@every_connector
async def test_what_is_nobodys_any_more_is_taken_back(kind: str) -> None:
    async with receiving(kind) as (_, connector):
        await connector.deliver(WithdrawnReading(UUID(int=5)))


@every_connector
@pytest.mark.parametrize("what", ORDERS)
async def test_sending_again_is_the_same_again(kind: str, what: str) -> None:
    async with receiving(kind) as (receiver, connector):
        await connector.deliver(ORDERS[what]())
        once = list(receiver.ids)
        await connector.deliver(ORDERS[what]())
        assert receiver.ids == once * 2
        assert len(set(once)) == len(once)


# A FHIR transaction puts the same resources again: test_fhir_connector.py shows what changes in them.
@pytest.mark.parametrize("kind", sorted(RECEIVERS.keys() - {"fhir"}))
async def test_another_state_is_another_message(kind: str) -> None:
    async with receiving(kind) as (receiver, connector):
        await connector.deliver(alert_order())
        first = set(receiver.ids)
        await connector.deliver(alert_order(revision=2))
        assert set(receiver.ids) - first


FAILURES = [
    (Behaviour.REFUSE, Rejected),
    (Behaviour.NOT_ALLOWED, Misconfigured),
    (Behaviour.UNAVAILABLE, Unreachable),
    (Behaviour.SILENT, Unreachable),
    (Behaviour.CUT, Unreachable),
    (Behaviour.NONSENSE, Unreachable),
    (Behaviour.OTHER, Unreachable),
    (Behaviour.DRIBBLE, Unreachable),
]


@every_connector
@pytest.mark.parametrize(("how", "error"), FAILURES)
async def test_a_failure_says_what_to_do_next_and_the_next_try_succeeds(
    kind: str, how: Behaviour, error: type[Exception]
) -> None:
    async with receiving(kind, how) as (receiver, connector):
        vague = how in {Behaviour.NONSENSE, Behaviour.OTHER} and not receiver.confirms
        if vague:
            await connector.deliver(ORDERS["reading"]())
            return
        with pytest.raises(error) as said:
            await connector.deliver(ORDERS["reading"]())
        assert "142" not in str(said.value)
        await connector.deliver(ORDERS["reading"]())
        assert len(set(receiver.ids)) == 1


@every_connector
async def test_an_acknowledgement_that_overtakes_another_settles_its_own_order(kind: str) -> None:
    async with receiving(kind, Behaviour.LATE) as (receiver, connector):
        overtaken = asyncio.create_task(connector.deliver(ORDERS["reading"]()))
        async with asyncio.timeout(10):
            while not receiver.ids:  # noqa: ASYNC110 - the receiver is asked, it does not call
                await asyncio.sleep(0.01)
            reading_id = receiver.ids[0]
            await connector.deliver(ORDERS["alert"]())
            with suppress(Unreachable):  # who has one order under way at a time gave up waiting
                await overtaken
        assert receiver.ids[0] == reading_id
        assert reading_id not in receiver.ids[1:]
        await connector.deliver(ORDERS["reading"]())
        assert receiver.ids[-1] == reading_id
        assert len(set(receiver.ids)) == len(receiver.ids) - 1


@every_connector
async def test_nobody_at_the_other_end(kind: str) -> None:
    async with receiving(kind) as (receiver, _):
        pass
    closed = receiver.connector()
    with pytest.raises(Unreachable):
        await closed.deliver(ORDERS["reading"]())


@every_connector
async def test_a_cancelled_delivery_leaves_nothing_behind(kind: str) -> None:
    async with receiving(kind, Behaviour.SILENT) as (receiver, connector):
        waiting = asyncio.create_task(connector.deliver(ORDERS["reading"]()))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await connector.deliver(ORDERS["alert"]())
        assert receiver.ids


@every_connector
def test_whatever_is_answered_nothing_else_is_raised(kind: str) -> None:
    @settings(max_examples=30)
    @given(st.binary(max_size=60), st.sampled_from([b"", b"\x0b", b"HTTP/1.1 200 OK\r\n"]), st.booleans())
    def answered(noise: bytes, head: bytes, framed: bool) -> None:
        async def one() -> None:
            async with receiving(kind) as (receiver, connector):
                receiver.bytes = head + noise + (b"\x1c\r" if framed else b"")
                try:
                    await connector.deliver(ORDERS["reading"]())
                except KitelineError:
                    return

        asyncio.run(one())

    answered()


@every_connector
async def test_a_control_solution_is_no_patients(kind: str) -> None:
    context = GlucoseContext(control_solution=True)
    blood = reading("142", "91")
    control = replace(blood, measurement=blood.measurement.model_copy(update={"context": context}))
    async with receiving(kind) as (receiver, connector):
        await connector.deliver(order(control))
        assert receiver.ids == []


@every_connector
async def test_through_failures_everything_arrives_and_nothing_twice(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    desk = BridgeDesk(tmp_path_factory.mktemp("d"), destinations=(kind,))
    home = SealingHome()
    for minute in range(6):
        desk.receive(home, home.seal(told(blood_pressure("192", "124", minutes=minute))))
    trouble = [Behaviour.CUT, Behaviour.UNAVAILABLE, Behaviour.SILENT, Behaviour.CUT]
    async with receiving(kind, *trouble) as (receiver, connector):
        loop = DeliveryLoop(desk.store.deliveries, {kind: connector}, lambda: desk.now, log=silent())
        for _ in range(12):
            await loop.round()
            desk.now += dt.timedelta(minutes=20)
        assert desk.store.deliveries.waiting() == 0
        assert desk.store.alerts.dead_letters() == []
        taken = len(set(receiver.ids))
    async with receiving(kind) as (receiver, connector):
        again = DeliveryLoop(desk.store.deliveries, {kind: connector}, lambda: desk.now, log=silent())
        assert await again.round() == 0
        assert receiver.ids == []
    assert taken >= 7
    desk.close()
