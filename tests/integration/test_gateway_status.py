"""What a gateway's connection says: it chooses the words of a silence, and nothing else."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.testing import capture_logs

from cloud_bridge import presence
from cloud_bridge.orders import reason_line
from cloud_bridge.presence import PresenceLoop
from cloud_bridge.rules.base import Queue
from cloud_bridge.store.base import Told
from service_kit.log import silent
from service_kit.mqtt_line import Broker, Letter, MqttLine
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import GATEWAY, SITE, SealingHome
from tests.doubles.bridge_readings import CUFF, NOW, blood_pressure, weight
from tests.doubles.edge_hospital import eventually
from tests.doubles.story_kit import DAY
from tests.integration.test_edge_agent import street
from wire_format.canonical import encode
from wire_format.errors import Unreachable
from wire_format.statements import DeviceEvent, DeviceEventKind
from wire_format.status import Presence, Status, encode_status
from wire_format.topics import Channel, Topic, subscription

LIKELY = "the gateway may be off"
OFF = "is off or without network, at the latest since"
HEARD = "the gateway is heard, and nothing was measured"
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[BridgeDesk]:
    """A patient from whom nothing came for two days and an hour."""
    made = BridgeDesk(tmp_path)
    made.now = NOW
    made.join("patient-1", "hypertension")
    made.receive(SealingHome(), SealingHome().seal(told(blood_pressure("120"))))
    made.wake(NOW + dt.timedelta(days=2, hours=1))
    yield made
    made.close()


def says(
    desk: BridgeDesk,
    which: Presence,
    *,
    kept: bool = False,
    since: dt.datetime | None = None,
    gateway: str = GATEWAY,
) -> None:
    status = Status(presence=which, software="0.1.0", since=since or desk.now)
    desk.store.presence.note([Told(gateway, status, kept)], desk.now)


def line(desk: BridgeDesk, language: str = "en", queue: Queue = Queue.CLINICAL) -> str:
    (alert,) = desk.store.alerts.open_alerts(queue)
    return reason_line(alert, language, desk.store.alerts.cause_of(alert.finding))


def later(desk: BridgeDesk, **passed: float) -> None:
    desk.now += dt.timedelta(**passed)


def test_a_gateway_that_is_gone_is_known_to_be(desk: BridgeDesk) -> None:
    assert LIKELY in line(desk)
    for which, kept in product((Presence.LOST, Presence.OFFLINE), (True, False)):
        says(desk, Presence.ONLINE, kept=True)
        assert LIKELY in line(desk)
        later(desk, hours=1)
        says(desk, which, kept=kept)
        assert line(desk).endswith(f"{OFF} {desk.now:%Y-%m-%d %H:%M}")
    at = f"{desk.now:%Y-%m-%d %H:%M}"
    later(desk, hours=3)
    assert line(desk).endswith(f"{OFF} {at}")
    assert f"最迟自 {at} 起" in line(desk, "zh-Hans")
    (alert,) = desk.store.alerts.open_alerts()
    order = desk.store.deliveries.load_alert_order(alert.alert_id)
    assert order is not None
    assert order.reason.endswith(f"{OFF} {at}")


def test_the_same_will_again_is_no_news_and_another_one_is(desk: BridgeDesk) -> None:
    first = desk.now
    says(desk, Presence.LOST, since=NOW)
    later(desk, hours=1)
    says(desk, Presence.LOST, since=NOW, kept=True)  # the bridge was connected anew
    assert line(desk).endswith(f"{first:%Y-%m-%d %H:%M}")
    says(desk, Presence.LOST, since=NOW + MINUTE)
    assert line(desk).endswith(f"{desk.now:%Y-%m-%d %H:%M}")
    says(desk, Presence.ONLINE)
    says(desk, Presence.LOST, since=NOW)
    assert line(desk).endswith(f"{desk.now:%Y-%m-%d %H:%M}")


def test_what_the_broker_kept_is_no_sign_of_life(desk: BridgeDesk) -> None:
    says(desk, Presence.ONLINE, kept=True)
    assert LIKELY in line(desk)
    says(desk, Presence.ONLINE)
    assert HEARD in line(desk)
    later(desk, minutes=45)
    assert HEARD in line(desk)
    later(desk, minutes=1)
    says(desk, Presence.ONLINE, kept=True, since=desk.now)
    assert LIKELY in line(desk)


def test_what_was_on_its_way_for_long_is_no_sign_of_life(desk: BridgeDesk) -> None:
    for off in (-6, 6, -60 * 24 * 300):
        says(desk, Presence.ONLINE, since=desk.now + off * MINUTE)
        assert LIKELY in line(desk)
    says(desk, Presence.ONLINE, since=desk.now + MINUTE)
    assert HEARD in line(desk)


def test_what_is_signed_weighs_more(desk: BridgeDesk) -> None:
    """A pretended loss does not hide that the home is heard, nor that a device is in trouble."""
    home = SealingHome(outbox=2)
    says(desk, Presence.LOST)
    later(desk, minutes=5)
    desk.receive(home, home.seal(told(weight("80", minutes=2 * DAY))))
    assert OFF in line(desk)  # may have been sent before
    later(desk, minutes=1)
    desk.receive(home, home.seal(told(weight("81", minutes=2 * DAY + 1))))
    assert HEARD in line(desk)
    says(desk, Presence.LOST, since=NOW)
    assert OFF in line(desk)
    failed = DeviceEvent(
        event_id=UUID(int=7), device=CUFF, kind=DeviceEventKind.VISIT_FAILED, at=desk.now - MINUTE
    )
    desk.receive(home, home.seal([failed]))
    assert "has trouble with" in line(desk)


def test_no_status_opens_or_silences_anything(desk: BridgeDesk) -> None:
    def all_but_status() -> dict[str, list[str]]:
        return {name: rows for name, rows in desk.everything().items() if name != "gateway_status"}

    before, queue = all_but_status(), desk.queue()
    for which, kept in product(Presence, (True, False)):
        says(desk, which, kept=kept)
        desk.wake()
        assert (all_but_status(), desk.queue()) == (before, queue)
    assert queue == [("SILENCE", "missing")]


def test_the_installer_reads_since_when(desk: BridgeDesk) -> None:
    desk.wake(NOW + dt.timedelta(hours=73))
    heard = max(row["received_at"] for row in desk.table("envelope"))
    text = line(desk, queue=Queue.INSTALLER)
    assert text == f"Nothing came from the gateway for 72 hours; the last came on {heard:%Y-%m-%d %H:%M}"
    says(desk, Presence.ONLINE)
    assert "it is connected: nobody measures" in line(desk, queue=Queue.INSTALLER)
    says(desk, Presence.LOST)
    assert line(desk, queue=Queue.INSTALLER).endswith(f"{OFF} {desk.now:%Y-%m-%d %H:%M}")


def test_of_two_homes_both_must_be_gone(desk: BridgeDesk) -> None:
    desk.enrol("gw-2")
    says(desk, Presence.LOST)
    assert LIKELY in line(desk)
    later(desk, hours=1)
    says(desk, Presence.OFFLINE, gateway="gw-2")
    assert line(desk).endswith(f"{desk.now:%Y-%m-%d %H:%M}")
    says(desk, Presence.ONLINE, gateway="gw-2")
    assert HEARD in line(desk)


def test_nothing_is_kept_of_strangers(desk: BridgeDesk) -> None:
    says(desk, Presence.LOST, gateway="gw-9")
    assert desk.table("gateway_status") == []


# --- the line ---


class Notes:
    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.noted: list[Told] = []

    def note(self, told: Sequence[Told], _now: dt.datetime) -> None:
        if self.fails:
            self.fails -= 1
            raise Unreachable("the disk is full")
        self.noted.extend(told)


def online(since: dt.datetime = NOW) -> bytes:
    return encode_status(Status(presence=Presence.ONLINE, software="0.1.0", since=since))


ODD: dict[str, tuple[str, bytes]] = {
    "bytes": ("gw-1", b"\xff\x00"),
    "nothing": ("gw-1", b""),
    "a list": ("gw-1", encode([1])),
    "a depth": ("gw-1", b"\x81" * 3000 + b"\x01"),
    "a word": ("gw-1", encode({"presence": "asleep", "software": "1", "since": NOW})),
    "a length": ("gw-1", online() + b" " * presence.MOST_BYTES),
    "a name": ("gw 1", online()),
}


async def test_what_is_no_status_changes_nothing_and_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "RETRY_S", 0.01)
    monkeypatch.setattr(presence, "MOST_NAMES", 2)
    notes = Notes(fails=1)
    loop = PresenceLoop(notes, SITE, lambda: NOW, structlog.get_logger())
    with capture_logs() as lines:
        for gateway, data in ODD.values():
            loop.notice(f"kiteline/1/{SITE}/{gateway}/status", data, False)  # noqa: FBT003 - the flag
        loop.notice("kiteline/1/elsewhere/gw-1/status", online(), False)  # noqa: FBT003 - as above
        for number in (1, 2, 3, 1):
            loop.notice(f"kiteline/1/{SITE}/gw-{number}/status", online(), number == 1)
        running = asyncio.create_task(loop.run())
        await eventually(lambda: len(notes.noted) == 2)
        running.cancel()
        await asyncio.wait([running])
    assert [(one.gateway, one.kept) for one in notes.noted] == [("gw-1", True), ("gw-2", False)]
    assert [one["event"] for one in lines] == ["status_refused", "status_not_written"]


@asynccontextmanager
async def listening(desk: BridgeDesk, port: int) -> AsyncIterator[None]:
    """The bridge's end of the line, as the bridge makes it."""

    class Nobody:
        def line_up(self, *, session_present: bool) -> None: ...
        def line_down(self) -> None: ...
        def message(self, topic: str, *_: Any) -> None:
            raise AssertionError(topic)

        def answered(self, ticket: int, refusal: str | None) -> None: ...

    loop = PresenceLoop(desk.store.presence, SITE, lambda: desk.now, silent())
    end = MqttLine(
        Broker("127.0.0.1", port, longest_pause_s=0.2),
        "bridge",
        subscriptions=[],
        will=None,
        events=Nobody(),
        log=silent(),
        notices=(subscription(SITE, Channel.STATUS), loop.notice),
    )
    tasks = [asyncio.create_task(end.run()), asyncio.create_task(loop.run())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_killed_agent_is_known_to_be_gone_by_its_last_will(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    desk = BridgeDesk(tmp_path / "desk")

    async def known(which: Presence) -> dict[str, Any]:
        def there() -> bool:
            desk.now = dt.datetime.now(dt.UTC)
            return [row["presence"] for row in desk.table("gateway_status")] == [which]

        await eventually(there)
        return desk.table("gateway_status")[0]

    async with street(tmp_path) as one:
        desk.now = dt.datetime.now(dt.UTC)
        port = int(one.hospital.client.port)
        await eventually(lambda: len(one.hospital.statuses) > 0)
        async with listening(desk, port):
            assert (await known(Presence.ONLINE))["there_at"] is None  # said before we listened
            await one.agent.kill()
            lost = await known(Presence.LOST)
        async with listening(desk, port):  # connected anew: the broker has kept the will
            await asyncio.sleep(0.3)
            assert await known(Presence.LOST) == lost
            await one.agent.start()
            assert (await known(Presence.ONLINE))["there_at"] is not None
        await one.agent.kill()  # while nobody listens
        async with listening(desk, port):
            assert (await known(Presence.LOST))["stated"] > lost["stated"]
    desk.close()


async def test_a_will_is_made_for_each_connection() -> None:
    made: list[int] = []

    def will() -> Letter:
        made.append(len(made))
        return Letter(str(Topic(SITE, GATEWAY, Channel.STATUS)), online())

    class Nobody:
        def line_up(self, *, session_present: bool) -> None: ...
        def line_down(self) -> None: ...
        def message(self, topic: str, *_: Any) -> None: ...
        def answered(self, ticket: int, refusal: str | None) -> None: ...

    end = MqttLine(
        Broker("127.0.0.1", 1, longest_pause_s=0.05),
        "x",
        subscriptions=[],
        will=will,
        events=Nobody(),
        log=silent(),
    )
    task = asyncio.create_task(end.run())
    await eventually(lambda: len(made) >= 3)
    task.cancel()
    await asyncio.wait([task])
