"""When envelopes are published again, with the time as an argument."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.outbox_file import EnvelopeKey
from edge_agent.retransmission import Pace, Schedule


def keys(count: int) -> list[EnvelopeKey]:
    return [EnvelopeKey(UUID(int=1), n + 1) for n in range(count)]


def test_repetitions_back_off_from_30_s_to_an_hour() -> None:
    schedule, (key,) = Schedule(Pace()), keys(1)
    now, pauses = 0.0, []
    for _ in range(10):
        assert schedule.due([key], now) == [key]
        schedule.published(key, now)
        due = schedule.next_due()
        assert due is not None
        assert schedule.due([key], due - 0.001) == []
        pauses.append(due - now)
        now = due
    assert pauses == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_at_most_64_wait_for_a_receipt_and_a_repetition_takes_no_place() -> None:
    schedule, waiting = Schedule(Pace()), keys(100)
    first = schedule.due(waiting, 0)
    assert first == waiting[:64]
    for key in first:
        schedule.published(key, 0)
    assert schedule.due(waiting, 1) == []
    assert schedule.due(waiting, 30) == first
    schedule.settled(first[:2])
    assert schedule.due(waiting[2:], 1) == waiting[64:66]


def test_a_receipt_ends_long_pauses() -> None:
    schedule, (key,) = Schedule(Pace()), keys(1)
    for _ in range(9):
        schedule.published(key, 0)
    assert schedule.next_due() == 3600
    schedule.hospital_answers()
    assert schedule.next_due() == 30


def test_starting_over_publishes_everything() -> None:
    schedule, waiting = Schedule(Pace()), keys(3)
    for key in waiting:
        schedule.published(key, 0)
    schedule.start_over()
    assert schedule.next_due() is None
    assert schedule.due(waiting, 0) == waiting


@given(st.lists(st.tuples(st.floats(0, 5000), st.sets(st.integers(0, 19))), max_size=40))
def test_whatever_settles_when_all_is_published_and_the_bound_holds(
    turns: list[tuple[float, set[int]]],
) -> None:
    schedule, unsettled, now = Schedule(Pace(in_flight=5)), keys(20), 0.0
    for pause, settles in turns:
        now += pause
        for key in schedule.due(unsettled, now):
            schedule.published(key, now)
        assert len(schedule.flights) <= 5
        gone = [key for key in unsettled if key.sequence in settles]
        schedule.settled(gone)
        unsettled = [key for key in unsettled if key not in gone]
    while unsettled:
        now += 3600
        for key in schedule.due(unsettled, now):
            schedule.published(key, now)
        assert set(schedule.flights) <= set(unsettled)
        done = list(schedule.flights)
        schedule.settled(done)
        unsettled = [key for key in unsettled if key not in done]
