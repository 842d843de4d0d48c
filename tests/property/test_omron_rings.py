"""However people measure and lines break: after a whole visit nothing that the cuff holds was missed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_drivers.link import LinkLost
from device_drivers.vendors.omron_map import OmronMap
from device_drivers.vendors.omron_records import RECORD_LAYOUTS
from tests.unit.test_omron_eeprom import Cuff, ids
from virtual_home.devices.omron_memory import OmronMemory
from wire_format.measurement import Measurement

SLOTS = 5
Step = tuple[str, int, int]
steps = st.lists(
    st.one_of(
        st.tuples(st.just("measure"), st.integers(0, 1), st.integers(1, 2 * SLOTS)),
        st.tuples(st.just("visit"), st.just(0), st.just(0)),
        st.tuples(st.just("break"), st.integers(0, 12), st.just(0)),
    ),
    max_size=12,
)


def small(name: str) -> Cuff:
    """A cuff of two users with few slots."""
    cuff = Cuff(name)
    first = cuff.map.areas[0].address
    areas = [{"address": first, "slots": SLOTS}, {"address": first + 0x200, "slots": SLOTS}]
    index = dict(cuff.profile.protocol["index"]) | {"offsets": [0, 2]}
    protocol = cuff.profile.protocol | {"areas": areas, "index": index}
    cuff.profile = cuff.profile.model_copy(update={"protocol": protocol})
    cuff.map = cuff.profile.protocol_as(OmronMap)
    cuff.memory = OmronMemory(cuff.map, lambda: cuff.clock, key=cuff.memory.key)
    return cuff


def held_now(cuff: Cuff) -> set[object]:
    """What a visit without any memory of earlier ones reads."""
    before, cuff.cursor = cuff.cursor, None
    found = ids(cuff.visit())
    cuff.cursor = before
    return found


@pytest.mark.parametrize("name", ["omron/hem_7322t", "omron/hem_7380t1"])
@settings(max_examples=40)
@given(done=steps)
def test_a_whole_visit_leaves_nothing_behind(name: str, done: list[Step]) -> None:
    cuff, known = small(name), set[object]()
    for what, where, count in [*done, ("visit", 0, 0)]:
        if what == "measure":
            cuff.measure(count, area=where)
            continue
        try:
            known |= ids(cuff.visit(break_after=where if what == "break" else None))
        except LinkLost:
            known |= ids([r for r in cuff.sink.readings if isinstance(r, Measurement)])
        else:
            assert held_now(cuff) <= known
    assert len(known) <= sum(cuff.memory.stored)
    assert cuff.memory.writes == []


@given(data=st.data(), layout=st.sampled_from(sorted(RECORD_LAYOUTS)))
def test_a_field_is_read_as_it_was_put_and_moves_no_other(data: Any, layout: str) -> None:
    row = RECORD_LAYOUTS[layout]
    raw = data.draw(st.binary(min_size=row.length, max_size=row.length + 4))
    name = data.draw(st.sampled_from(sorted(row.fields)))
    value = data.draw(st.integers(0, (1 << row.fields[name][1]) - 1))
    changed = row.put(raw, {name: value})
    assert row.get(changed, name) == value
    assert all(row.get(changed, other) == row.get(raw, other) for other in row.fields if other != name)
    assert row.put(changed, {name: row.get(raw, name) or 0}) == raw
