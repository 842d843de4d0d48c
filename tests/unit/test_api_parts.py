"""The small parts of the interface: tokens, tags, cursors, rates."""

import datetime as dt
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud_bridge.access.tokens import MOST_DAYS, PREFIX, digest, issue
from cloud_bridge.api.v1.answers import revision_in, tag_of
from cloud_bridge.api.v1.asked import (
    AlertQuery,
    DeadLetterQuery,
    ReadingQuery,
    after,
    after_letter,
    after_reading,
    letter_place,
    place,
    reading_place,
)
from cloud_bridge.api.v1.limits import MAX_KEYS, Rate
from cloud_bridge.api.v1.problem import ApiError, Kind
from cloud_bridge.store.base import DeliveryKey
from wire_format.errors import Rejected

pytestmark = pytest.mark.no_cover  # about the interface, which has no floor

NOW = dt.datetime(2026, 11, 24, 8, 0, tzinfo=dt.UTC)
DAYS = 3_650_000  # from the first year to the last one
MOMENTS = st.timedeltas(dt.timedelta(0), dt.timedelta(DAYS)).map(
    lambda passed: dt.datetime(1, 1, 1, tzinfo=dt.UTC) + passed
)


def test_a_token_is_made_for_so_many_days() -> None:
    text, made = issue("n1", "stamp", 30, NOW)
    assert text.startswith(PREFIX)
    assert len(digest(text)) == 32
    assert issue("n1", "stamp", 30, NOW)[0] != text
    until = NOW + dt.timedelta(days=30)
    assert made.holds("stamp", until - dt.timedelta(microseconds=1))
    assert not made.holds("stamp", until)
    assert not made.holds("another", NOW)
    assert not made.holds("", NOW)
    for days in (0, -1, MOST_DAYS + 1):
        with pytest.raises(Rejected, match="days"):
            issue("n1", "stamp", days, NOW)


@pytest.mark.parametrize(
    ("sent", "revision"),
    [
        ("*", None),
        (" * ", None),
        ('"7"', 7),
        ('"7-0123456789abcdef"', 7),
        ('"x", "12-ab"', 12),
        ("7", 7),
        ('W/"7"', 0),
        ("", 0),
        ('"\u0667"', 0),
        ('"9999999999"', 0),
        ('"-1"', 0),
    ],
)
def test_if_match_names_a_revision(sent: str, revision: int | None) -> None:
    assert revision_in(sent) == revision
    assert revision_in(tag_of(7)) == 7


@given(MOMENTS, st.uuids())
def test_cursors_come_back_exactly(at: dt.datetime, one: UUID) -> None:
    assert after(AlertQuery(cursor=place(at, one)).cursor) == (at, one)
    assert after_reading(ReadingQuery(cursor=reading_place(at, one)).cursor) == (at, one)
    key = DeliveryKey("reading", one, "webhook:phone-1")
    assert after_letter(DeadLetterQuery(cursor=letter_place(at, key)).cursor) == (at, key)


@given(st.from_regex(AlertQuery.model_fields["cursor"].metadata[0].pattern, fullmatch=True))
def test_every_text_of_a_cursors_form_is_a_place(cursor: str) -> None:
    found = after(AlertQuery(cursor=cursor.removesuffix("\n")).cursor)
    assert found is not None
    assert found[0].tzinfo is dt.UTC


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("0.5", "datetime_parsing"),
        ("2026-11-24", "datetime_parsing"),
        ("2026-11-24T08:00:00", "timezone_aware"),
    ],
)
def test_a_moment_is_one_of_rfc_3339(said: str, kind: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ReadingQuery.model_validate({"until": said})
    assert [one["type"] for one in refused.value.errors()] == [kind]
    assert ReadingQuery.model_validate({"until": "2026-11-24T16:00:00+08:00"}).until == NOW


def test_a_reading_without_a_time_has_a_place_too() -> None:
    one = UUID(int=7)
    assert after_reading(reading_place(None, one)) == (None, one)
    assert after_reading(None) is after(None) is after_letter(None) is None


def test_so_many_accounts_are_counted_and_no_more() -> None:
    now = NOW
    rate = Rate(lambda: now, 2)
    for n in range(MAX_KEYS):
        rate.take(str(n))
    with pytest.raises(ApiError) as refused:
        rate.take("one more")
    assert (refused.value.kind, refused.value.status_code) == (Kind.TOO_MANY, 429)
    rate.take("0")
    now += dt.timedelta(minutes=1)
    rate.take("one more")
