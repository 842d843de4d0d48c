"""Pages of the inbox: everybody is on one of them, and what comes in above shifts nothing unseen."""

import datetime as dt

import pytest

from cloud_bridge.console.pages import Pages, page, turned
from cloud_bridge.store.base import Place

NOW = dt.datetime(2026, 11, 25, 8, tzinfo=dt.UTC)
SIZE = 3


def place(number: int, *, seen: bool = False, rank: int = 1) -> Place:
    at = NOW + dt.timedelta(minutes=number)
    return Place(seen, rank, at, at, f"person-{number}")


def queue(count: int) -> list[Place]:
    return [place(number) for number in range(count)]


def at(queue_: list[Place], address: str | None) -> Pages:
    assert address is not None
    return page(queue_, turned(address), SIZE)


def people(one: Pages) -> list[int]:
    return [int(p.subject.removeprefix("person-")) for p in one.people]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 6, 7, 20])
def test_turning_the_pages_shows_everybody_once_both_ways(count: int) -> None:
    there, address = [], ""
    for number in range(1, 99):
        one = at(queue(count), address)
        there += people(one)
        assert (one.number, one.of, one.total) == (number, max(1, -(-count // SIZE)), count)
        if one.behind is None:
            break
        assert (one.first, one.last) == (number * SIZE - 2, number * SIZE)
        address = one.behind
    assert there == list(range(count))
    back = people(one)
    while one.before is not None:
        one = at(queue(count), one.before)
        back = people(one) + back
    assert back == there


def test_the_order_is_open_first_then_the_gravest_then_by_time() -> None:
    mixed = [place(1, seen=True, rank=0), place(2, rank=2), place(4, rank=0), place(3, rank=0)]
    assert people(page(mixed, None)) == [3, 4, 2, 1]


def test_whoever_comes_in_above_moves_nothing_and_is_said() -> None:
    second = page(queue(7), None, SIZE).behind
    assert people(at(queue(7), second)) == [3, 4, 5]
    more = [*queue(7), place(100, rank=0), place(101, rank=0)]
    one = at(more, second)
    assert (people(one), one.came, one.first, one.last) == ([3, 4, 5], 2, 6, 8)
    assert (one.number, one.of) == (3, 4)
    assert one.here == second  # it goes on saying so, until somebody turns the page
    assert people(at(more, one.behind)) == [6]
    assert at(more, one.behind).came == 0
    assert people(at(more, one.before)) == [100, 101, 0]  # near the beginning: all of it
    assert people(at(more, at(more, one.before).behind)) == [1, 2, 3]


def test_whoever_leaves_above_moves_nothing_either() -> None:
    second = page(queue(7), None, SIZE).behind
    one = at(queue(7)[2:], second)
    assert (people(one), one.came, one.first, one.number, one.of) == ([3, 4, 5], 0, 2, 2, 3)


def test_a_page_of_which_nobody_is_left_is_the_last_one() -> None:
    last = at(queue(7), at(queue(7), page(queue(7), None, SIZE).behind).behind)
    assert people(last) == [6]
    gone = at(queue(5), last.here)
    assert (people(gone), gone.came, gone.behind) == ([2, 3, 4], 0, None)
    assert at([], last.here).total == 0


@pytest.mark.parametrize(
    "query",
    ["", "after=1", "after=0-1-5-5-0123456789abcdef", "after=2-1-5-5-0123456789abcdef&above=3", "x" * 900],
)
def test_what_is_no_address_of_ours_is_the_first_page(query: str) -> None:
    assert turned(query) is None


def test_an_address_names_nobody_and_comes_back() -> None:
    address = page(queue(7), None, SIZE).behind
    assert address is not None
    assert "person" not in address
    assert str(turned(address)) == address
