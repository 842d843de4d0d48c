"""The inbox page over a real store, and somebody who opens it without a browser."""

import datetime as dt
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pyotp
from argon2 import PasswordHasher

from cloud_bridge.access.model import Account, DataType, Role
from cloud_bridge.access.passwords import Credentials
from cloud_bridge.access.tokens import issue
from cloud_bridge.api.app import create_app
from cloud_bridge.api.room import Door, Page
from cloud_bridge.api.v1.door import PER_MINUTE, Programs
from cloud_bridge.api.v1.streams import Streams
from cloud_bridge.console.pages import PEOPLE
from cloud_bridge.duty import ALWAYS, Duty
from cloud_bridge.page_links import PageLinks
from tests.doubles.bridge_desk import BridgeDesk, told
from tests.doubles.bridge_home import SealingHome
from tests.doubles.bridge_readings import blood_pressure, glucose, weight
from tests.doubles.databases import begin, written
from wire_format.measurement import Absent, Remark
from wire_format.nomenclature import Unit

HOST = "127.0.0.1:8600"
ZONE = ZoneInfo("Asia/Shanghai")
Filling = Callable[[BridgeDesk], None]
PASSWORD = "a long enough password"  # noqa: S105 - an example


@cache
def credentials() -> Credentials:
    """Everybody's password and phone; the hash is compared fast: some tests sign in two hundred times."""
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return Credentials(quick.hash(PASSWORD), pyotp.random_base32())


def programs(desk: BridgeDesk, per_minute: int = PER_MINUTE) -> Programs:
    """What programs ask of this desk's store."""
    store = desk.store
    streams = Streams(poll_s=0.05, heartbeat_s=0.2)
    return Programs(store.alerts, store.listings, store.tokens, per_minute, streams)


def token(desk: BridgeDesk, name: str, days: int = 30) -> str:
    """A new token of an account."""
    text, made = issue(name, desk.store.access.stamp(name), days, desk.now)
    desk.store.tokens.add(made, text)
    return text


def fill(desk: BridgeDesk) -> None:
    """Two weeks of one person with a severe end, a second person, and a home where nobody is known."""
    home = SealingHome()
    for day in range(-13, 0):
        for minute in (0, 2):
            m = blood_pressure(str(128 + day % 9), str(78 + day % 5), minutes=day * 1440 + minute)
            desk.receive(home, home.seal(told(m)))
    fill_a_day(desk, home)


def fill_a_day(desk: BridgeDesk, home: SealingHome | None = None) -> None:
    """One person with a severe end, a second person, and a home where nobody is known."""
    home = home or SealingHome()
    kilopascals = blood_pressure("17.6", "10.9", unit=Unit.KPA, minutes=-600, remarks=(Remark.CLOCK_AHEAD,))
    untimed = blood_pressure("131", "81", minutes=None)
    for m in (
        kilopascals,
        untimed,
        blood_pressure("192", "124", minutes=10),
        blood_pressure("188", "122", minutes=14),
    ):
        desk.receive(home, home.seal(told(m)))
    desk.receive(home, home.seal(told(blood_pressure("185", "99", minutes=18), "p-2")))
    desk.receive(home, home.seal([blood_pressure("190", "101", minutes=21)]))


def fill_other_programmes(desk: BridgeDesk) -> None:
    """Somebody with a meter and a scale: a low, a gain of weight that came late, and what rules refuse."""
    home = SealingHome()
    desk.join("patient-1", "diabetes", "heart_failure")
    for m in (
        glucose("2.6", minutes=1),
        glucose(Absent.BELOW_RANGE, minutes=200, unit=Unit.MG_PER_DL),
        glucose("5.0", minutes=2, control=True),
        glucose("60", minutes=3, remarks=(Remark.IMPLAUSIBLE,)),
        weight("80.0", minutes=-5 * 1440),
        weight("83.0", minutes=-3 * 1440),
    ):
        desk.now = max(desk.now, m.time.received_at)
        desk.receive(home, home.seal(told(m)))


def filled_desk(folder: Path, filling: Filling = fill, *, duty: Duty = ALWAYS) -> BridgeDesk:
    """A desk as `filling` leaves it. It is done once in this process: two weeks take a second to judge."""
    if duty != ALWAYS:
        desk = BridgeDesk(folder, duty=duty)
        filling(desk)
        return desk
    begin(folder, _filled(filling))
    return BridgeDesk(folder)


@cache
def _filled(filling: Filling) -> bytes:
    def done(folder: Path) -> None:
        with closing(BridgeDesk(folder)) as desk:
            filling(desk)

    return written(done)


def csrf_of(page: str) -> str:
    """The token of a page's forms."""
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def enter_as(http: httpx.AsyncClient, desk: BridgeDesk, name: str, **changes: str) -> httpx.Response:
    """Fill in the form for signing in and send it; `changes` are of its fields."""
    csrf = csrf_of((await http.get("/sign-in")).text)
    code = pyotp.TOTP(credentials().secret).at(desk.now)
    form = {"csrf": csrf, "name": name, "password": PASSWORD, "code": code, **changes}
    return await http.post("/sign-in", data=form)


class Visitor:
    """A browser's memory: cookies, the last page, and the token of its forms."""

    def __init__(
        self,
        folder: Path,
        *,
        filled: Filling | None = fill,
        accounts: bool = False,
        wrong_takes_s: float = 0,
        duty: Duty = ALWAYS,
        zone: dt.tzinfo = ZONE,
        per_minute: int = PER_MINUTE,
        policies: str | None = None,
        people: int = PEOPLE,
        door: Callable[[Callable[[], dt.datetime]], Door] | None = None,
    ) -> None:
        self.desk = (
            BridgeDesk(folder, duty=duty) if filled is None else filled_desk(folder, filled, duty=duty)
        )
        self.told: list[bool] = []
        self.links = PageLinks(folder / "links")
        page = Page(
            self.desk.store.alerts,
            self.links.redeem,
            lambda: self.told.append(True),
            lambda: self.desk.now,
            zone,
            frozenset({HOST, "localhost:8600"}),
            self.desk.store.access if accounts else None,
            wrong_takes_s=wrong_takes_s,
            policies=policies,
            people=people,
            door=None if door is None else door(lambda: self.desk.now),
        )
        self.app = create_app(page, programs(self.desk, per_minute=per_minute))
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url=f"http://{HOST}", follow_redirects=True
        )

    async def enter(self, language: str = "en") -> httpx.Response:
        self.http.headers["accept-language"] = language
        return await self.http.get(f"/enter?token={self.links.make()}")

    def hire(self, name: str, role: Role, organization: str = "1", *patients: str) -> None:
        """Add an account; "1" looks after the patients of the desk."""
        account = Account(name, role, organization, patients=frozenset(patients))
        self.desk.store.access.add_account(account, credentials(), self.desk.now)

    def consent(self, to: str, *data: DataType, patient: str = "patient-1") -> None:
        """Let a patient agree."""
        for one in data:
            self.desk.store.access.give_consent(
                patient, to, one, text_version="2026-1", by=patient, now=self.desk.now
            )

    def code(self) -> str:
        """What the authenticator app of everybody here shows now."""
        return pyotp.TOTP(credentials().secret).at(self.desk.now)

    async def sign_in(self, name: str, **changes: str) -> httpx.Response:
        """Fill in the form and send it; `changes` are of its fields."""
        return await enter_as(self.http, self.desk, name, **changes)

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of a page of ours."""
        return await self.http.post(path, data={"csrf": await self.csrf(), **fields})

    async def inbox(self) -> str:
        return (await self.http.get("/")).text

    async def csrf(self) -> str:
        return csrf_of(await self.inbox())

    async def acknowledge(self, alert: object, **changes: str) -> httpx.Response:
        form = {"csrf": await self.csrf(), "name": "nurse-7", **changes}
        return await self.http.post(f"/alerts/{alert}/acknowledge", data=form)

    async def move(self, alert: object, step: str, **fields: str) -> httpx.Response:
        """Press a button of an item."""
        form = {"csrf": await self.csrf(), "name": "nurse-7", **fields}
        return await self.http.post(f"/alerts/{alert}/{step}", data=form)

    def later(self, **passed: float) -> None:
        self.desk.now += dt.timedelta(**passed)

    async def close(self) -> None:
        await self.http.aclose()
        self.desk.close()


@asynccontextmanager
async def visitor(
    folder: Path,
    *,
    filled: Filling | None = fill,
    accounts: bool = False,
    wrong_takes_s: float = 0,
    duty: Duty = ALWAYS,
    zone: dt.tzinfo = ZONE,
    per_minute: int = PER_MINUTE,
    policies: str | None = None,
    people: int = PEOPLE,
    door: Callable[[Callable[[], dt.datetime]], Door] | None = None,
) -> AsyncIterator[Visitor]:
    one = Visitor(
        folder,
        filled=filled,
        accounts=accounts,
        wrong_takes_s=wrong_takes_s,
        duty=duty,
        zone=zone,
        per_minute=per_minute,
        policies=policies,
        people=people,
        door=door,
    )
    try:
        yield one
    finally:
        await one.close()
