"""The inbox in pages: who is counted, who is read, and how a nurse keeps her place."""

import datetime as dt
import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cloud_bridge.access.model import Action, DataType, Role
from tests.doubles.alarm_storm import FIRST_NUMBER, NEXT, TITLE, alarming, consent_all, enrolled
from tests.doubles.page_visitor import Visitor, visitor

PEOPLE = 11
SIZE = 5
PREVIOUS = re.compile(r'rel="prev" href="([^"]+)"')


def alarm(one: Visitor, first: int, last: int) -> None:
    """Let some people alarm, of those who are enrolled."""
    sent = alarming(enrolled(one.desk, last))[first:]
    one.desk.store.intake.accept_all(sent, one.desk.now)
    while one.desk.ingest.drain():
        pass


@asynccontextmanager
async def ward(folder: Path) -> AsyncIterator[Visitor]:
    """A nurse before ten people who wait, of whom she may see all but the last two; five are on a page."""
    async with visitor(folder, filled=None, accounts=True, people=SIZE) as one:
        alarm(one, 0, PEOPLE - 1)
        consent_all(one, PEOPLE - 3)
        one.hire("n1", Role.NURSE)
        await one.sign_in("n1")
        yield one


def read(one: Visitor) -> list[str | None]:
    """Whose alerts are on record as read."""
    entries = [e for e, _ in one.desk.store.access.entries(action=Action.READ)]
    return [e.patient for e in entries if e.data is DataType.ALERTS and e.allowed]


async def get(one: Visitor, address: str) -> str:
    answer = await one.http.get(html.unescape(address))
    assert answer.status_code == 200
    return answer.text


def numbers(page: str) -> list[str]:
    """The people on a page, by number, in order."""
    return [str(int(n) - FIRST_NUMBER) for n in TITLE.findall(page)]


def link(pattern: re.Pattern[str], page: str) -> str:
    found = pattern.search(page)
    assert found is not None
    return html.unescape(found[1])


async def test_all_are_counted_and_only_those_shown_are_on_record(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        page = await one.inbox()
        assert "<title>Inbox: 8 waiting</title>" in page
        assert "People 1 to 5 of 8, page 1 of 2" in page
        assert len(numbers(page)) == SIZE
        assert sorted(read(one), key=str) == sorted(f"person-{n}" for n in numbers(page))
        second = await get(one, link(NEXT, page))
        assert "<title>Inbox: 8 waiting</title>" in second
        assert "People 6 to 8 of 8, page 2 of 2" in second
        assert NEXT.search(second) is None
        assert sorted(numbers(page) + numbers(second), key=int) == [str(n) for n in range(8)]
        assert len(read(one)) == 8
        assert not {"person-8", "person-9"} & set(read(one))
        assert numbers(await get(one, link(PREVIOUS, second))) == numbers(page)


async def test_whoever_comes_in_above_is_said_and_moves_nothing(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        address = link(NEXT, await one.inbox())
        before = await get(one, address)
        assert 'id="came"' not in before
        one.desk.now -= dt.timedelta(minutes=20)  # due before all the others
        alarm(one, PEOPLE - 1, PEOPLE)
        one.desk.now += dt.timedelta(minutes=20)
        one.consent("nurse", DataType.ALERTS, patient=f"person-{PEOPLE - 1}")
        renewed = re.search(r'http-equiv="refresh" content="60; url=([^"]+)"', before)
        assert renewed is not None
        after = await get(one, renewed[1])
        assert numbers(after) == numbers(before)
        assert "were not when you turned to it: 1." in after
        assert "People 7 to 9 of 9, page 2 of 2" in after
        assert "<title>Inbox: 9 waiting</title>" in after
        assert numbers(await one.inbox())[0] == str(PEOPLE - 1)
        chinese = await get(one, link(re.compile(r'href="([^"]+)" lang="zh-Hans"'), after))
        assert numbers(chinese.replace("患者 ", "Patient ")) == numbers(before)
        assert "翻到本页之后" in chinese


async def test_a_step_leads_back_to_the_same_page(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        for address in ("/", link(NEXT, await one.inbox())):
            page = await get(one, address)
            number = numbers(page)[0]
            form = re.search(r'action="(/alerts/[^"]+/acknowledge)">(.*?)</form>', page, re.DOTALL)
            assert form is not None
            fields = dict(re.findall(r'name="(csrf|back|asking)" value="([^"]*)"', form[2]))
            answer = await one.http.post(form[1], data={k: html.unescape(v) for k, v in fields.items()})
            left = [n for n in numbers(page) if n != number]
            assert [n for n in numbers(answer.text) if n in left] == left
            said = f"Patient {FIRST_NUMBER + int(number)}: seen."
            assert (said in answer.text) is (number not in numbers(answer.text))
        assert "<title>Inbox: 6 waiting</title>" in await one.inbox()


async def test_an_address_that_is_none_is_the_first_page_and_tells_of_nobody(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        for query in ("after=x&above=1", "after=0-0-1-1-zz&above=1", "above=5", "done=nonsense"):
            assert "page 1 of 2" in await get(one, f"/?{query}")
        hidden = next(
            a.alert_id for a in one.desk.store.alerts.open_alerts() if a.finding.subject == "person-9"
        )
        assert "Patient 9" not in await get(one, f"/?done={hidden}")
