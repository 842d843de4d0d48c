"""A hundred people alarm at once: every item is at the hospital once, and the page shows each person once."""

from collections import Counter

import pytest

from cloud_bridge.access.model import Role
from tests.doubles.alarm_storm import FIRST_NUMBER, consent_all, storm

PEOPLE = 101  # three pages, of which the last one has one person


async def test_everybody_alarms_and_every_item_is_there_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with storm(tmp_path_factory.mktemp("storm"), PEOPLE, longest_s=90) as one:
        assert Counter(one.tasks).most_common(1)[0][1] == 1
        assert len(one.tasks) == one.count() == PEOPLE
        assert one.desk.store.alerts.dead_letters() == []
        one.visitor.hire("n1", Role.NURSE)
        consent_all(one.visitor, PEOPLE)
        page = await one.visitor.sign_in("n1")
        assert f"<title>Inbox: {PEOPLE} waiting</title>" in page.text
        assert "People 1 to 50 of 101, page 1 of 3" in page.text
        shown = await one.walk()
        assert sorted(map(int, shown)) == list(range(FIRST_NUMBER, FIRST_NUMBER + PEOPLE))
