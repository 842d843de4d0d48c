"""Whose turn it is: the silent ones first, the window that closes first, and the radio listens in between."""

import pytest

from device_drivers.link import Sighting
from edge_agent.turns import DEAF_S, LISTEN_S, MAX_PLACES, SILENCE_S, WINDOW_S, Place, Turns, Wanted

WANTED = Wanted(Sighting("a", None, frozenset()), object(), None)  # type: ignore[arg-type]  # not looked at here


def hear(turns: Turns, now: float, *addresses: str) -> None:
    for address in addresses:
        turns.heard(address, WANTED, now)


def begin(turns: Turns, now: float, *, connects_in: float = 0.0) -> Place:
    """Let the next visit begin, and its connection stand after a while."""
    place = turns.next(now)
    assert place is not None
    place.visited()
    turns.begin_connecting(now)
    turns.end_connecting(now + connects_in)
    return place


def end(turns: Turns, place: Place, now: float, *, read: bool = True) -> None:
    turns.end_link()
    turns.end(place, now)
    place.fresh = place.fresh and not read


def test_the_window_that_closes_first_is_served_first() -> None:
    turns = Turns(4)
    hear(turns, 100, "early")
    hear(turns, 101, "late")
    turns.place("late").window_s = 5.0
    assert [begin(turns, 102).address, begin(turns, 102).address] == ["late", "early"]


def test_whoever_advertises_all_day_waits_and_never_takes_the_last_link() -> None:
    turns = Turns(2)
    hear(turns, 100, "all day")
    place = begin(turns, 100)
    end(turns, place, 101)
    hear(turns, 102, "other")
    other = begin(turns, 102)
    hear(turns, 103, "all day")
    assert turns.next(103) is None
    hear(turns, 104, "silent before")
    assert begin(turns, 104).address == "silent before"
    end(turns, other, 105)
    assert turns.next(105) is None
    end(turns, turns.place("silent before"), 106)
    assert begin(turns, 106).address == "all day"


def test_with_one_link_everybody_may_have_it() -> None:
    turns = Turns(1)
    hear(turns, 100, "a")
    end(turns, begin(turns, 100), 101)
    hear(turns, 102, "a")
    assert begin(turns, 102).address == "a"
    hear(turns, 103, "b")
    assert turns.next(103) is None


def test_one_connection_is_made_at_a_time() -> None:
    turns = Turns(4)
    hear(turns, 100, "a", "b")
    place = turns.next(100)
    assert place is not None
    place.visited()
    turns.begin_connecting(100)
    assert turns.next(101) is None
    turns.end_connecting(102)
    assert turns.next(102) is not None


def test_while_the_radio_is_deaf_nobody_has_fallen_silent() -> None:
    turns = Turns(4)
    hear(turns, 100, "regular")
    place = begin(turns, 100)
    end(turns, place, 101)
    place.rests_until = 200.0
    hear(turns, 102, "regular", "far away")
    begin(turns, 102, connects_in=60.0)
    hear(turns, 162 + SILENCE_S - 1, "regular")
    assert not place.fresh
    assert place.rests_until == 200.0
    hear(turns, 162 + 2 * SILENCE_S, "regular")
    assert place.fresh
    assert place.rests_until < 200.0


def test_whoever_fell_silent_is_not_connected_to() -> None:
    turns = Turns(4)
    hear(turns, 100, "a")
    assert turns.next(100 + SILENCE_S) is not None
    assert turns.next(100 + SILENCE_S + 1) is None
    assert turns.place("a").wanted is None


def test_the_radio_listens_after_being_deaf_for_long() -> None:
    turns = Turns(4)
    hear(turns, 100, "a", "b", "c", "d")
    begin(turns, 100, connects_in=DEAF_S - 1)
    begin(turns, 100 + DEAF_S - 1, connects_in=2)
    listens_from = 100 + DEAF_S + 1
    assert turns.next(listens_from) is None
    assert turns.listen_s(listens_from) == LISTEN_S
    begin(turns, listens_from + LISTEN_S, connects_in=1)
    # It has listened: a short connection more needs no pause.
    assert turns.next(listens_from + LISTEN_S + 1) is not None


def test_a_window_that_was_seen_whole_tells_how_long_it_is() -> None:
    turns = Turns(4)
    for second in range(100, 113):
        hear(turns, second, "a")
    place = turns.place("a")
    assert place.window_s == WINDOW_S
    hear(turns, 200, "a")
    assert place.window_s == 12
    # One that a visit interrupted, or that was hardly heard, tells nothing.
    end(turns, begin(turns, 201), 202)
    hear(turns, 300, "a")
    assert place.window_s == 12
    hear(turns, 301, "a")
    hear(turns, 400, "a")
    assert place.window_s == 12


def test_a_visit_is_no_silence() -> None:
    turns = Turns(4)
    hear(turns, 100, "a")
    place = begin(turns, 100)
    end(turns, place, 100 + 5 * SILENCE_S)
    hear(turns, 100 + 5 * SILENCE_S + 1, "a")
    assert not place.fresh


@pytest.mark.parametrize("visiting", [True, False])
def test_places_are_bounded_and_a_running_visit_keeps_its_own(visiting: bool) -> None:
    turns = Turns(4)
    hear(turns, 100, "first")
    if visiting:
        begin(turns, 100)
    hear(turns, 101, *(str(number) for number in range(MAX_PLACES)))
    assert len(turns.places) <= MAX_PLACES
    assert ("first" in turns.places) == visiting
