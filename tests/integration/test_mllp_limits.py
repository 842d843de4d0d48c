"""What one message may cost the bridge, and how long its bytes are kept."""

import asyncio
import datetime as dt
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from cloud_bridge.retention import KEPT, forget_messages
from cloud_bridge.store.hl7_messages import BATCH
from tests.doubles.discharge_messages import a03, framed
from tests.doubles.discharge_plans import MADE
from tests.integration.test_mllp_listener import HOUR, exchange, said, ward
from wire_format.errors import Unreachable


@pytest.mark.parametrize("filler", ["PID|" + "^~&|" * 225_000, "PID|" + "|" * 900_000, "PID\r" * 225_000])
async def test_a_message_of_delimiters_is_refused_before_it_costs_anything(
    tmp_path: Path, filler: str
) -> None:
    async with ward(tmp_path) as one:
        found = await exchange(one, framed(a03(more=(filler,))))  # parsed, it took up to a minute
        assert said(found) == ("AR", "A1")
        assert "more than 10000 fields and components" in str(found.segment("ERR")[8])
        assert one.messages() == []
        whole_header = a03(changes=(("|||AL|NE||", "|" + "^~&|" * 225_000),))
        assert said(await exchange(one, framed(whole_header))) == ("AR", "")
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")


async def test_a_report_in_a_segment_that_nobody_reads_costs_nothing(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        report = tuple(f"OBX|{n}|TX|1^Report^LN||{'a^b~c|' * 20}" for n in range(1500))
        found = await exchange(one, framed(a03(more=report)))
        assert said(found) == ("AA", "A1")
        assert [str(err[8]).split(":")[0] for err in found.segments("ERR")] == ["OBX"]


async def test_a_message_that_cannot_be_read_is_named_in_the_answer(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        unknown = a03(changes=(("UNICODE UTF-8", "KOI8"),))
        assert said(await exchange(one, framed(unknown))) == ("AR", "A1")
        assert said(await exchange(one, framed(a03() + b"ZZZ|\xff\r"))) == ("AR", "A1")


async def test_bytes_are_kept_for_a_month_and_a_later_repeat_changes_nothing(tmp_path: Path) -> None:
    async with ward(tmp_path) as one:
        refused = a03(control_id="A0", changes=(("stay-1^^^VISITS", ""),))
        for message in (a03(), refused):
            await exchange(one, framed(message))
        messages, plans = one.desk.store.hl7_messages, one.desk.table("discharge_version")
        one.desk.now += KEPT - HOUR
        await exchange(one, framed(a03(control_id="A2", changes=(("stay-1", "stay-2"),))))
        assert messages.forget(one.desk.now - KEPT) == 0
        one.desk.now += HOUR
        assert messages.forget(one.desk.now - KEPT) == 2
        assert [m["control_id"] for m in one.messages()] == ["A2"]
        assert said(await exchange(one, framed(a03()))) == ("AA", "A1")
        assert [p for p in one.desk.table("discharge_version") if p in plans] == plans
        assert one.plans == len(plans) + 1


async def test_the_bridge_forgets_batch_by_batch_and_a_store_that_is_away_only_puts_it_off() -> None:
    found: list[int | Exception] = [Unreachable("away"), BATCH, BATCH - 1, 0]
    asked: list[dt.datetime] = []
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def forget(before: dt.datetime) -> int:
        asked.append(before)
        one = found[min(len(asked), len(found)) - 1]
        if len(asked) == len(found):
            loop.call_soon_threadsafe(over.set)
        if isinstance(one, Exception):
            raise one
        return one

    with capture_logs() as logs:
        running = asyncio.create_task(
            forget_messages(forget, lambda: MADE, structlog.get_logger(), every_s=0)
        )
        async with asyncio.timeout(10):
            await over.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert set(asked) == {MADE - KEPT}
    assert [(e["event"], e.get("count")) for e in logs[:2]] == [
        ("messages_not_forgotten", None),
        ("messages_forgotten", 2 * BATCH - 1),
    ]
