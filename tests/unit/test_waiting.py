"""Waiting for a device's answer: it came, it did not, or the link ended, with or without a reason."""

import asyncio
import contextlib
import gc
from typing import Any, cast

import pytest

from device_drivers.link import GattLink, LinkLost
from device_drivers.silence import answered, raise_what_ended
from wire_format.errors import Rejected


class Ended:
    """A link that has ended, or has not."""

    def __init__(self, error: Exception | None = None, *, open_: bool = False) -> None:
        self.error, self.open = error, open_

    async def wait_closed(self) -> None:
        if self.open:
            await asyncio.sleep(60)
        if self.error:
            raise self.error


def link(error: Exception | None = None, *, open_: bool = False) -> GattLink:
    return cast("GattLink", Ended(error, open_=open_))


async def an_answer(after_s: float) -> str:
    await asyncio.sleep(after_s)
    return "yes"


async def test_an_answer_comes_in_time_or_not() -> None:
    soon, late = (asyncio.ensure_future(an_answer(s)) for s in (0.001, 60))
    assert await answered(link(open_=True), soon, 10, "gone")
    assert not await answered(link(open_=True), late, 0.01, "gone")
    assert not late.done()
    late.cancel()


@pytest.mark.parametrize(
    ("error", "kind", "words"), [(None, LinkLost, "gone"), (Rejected("full"), Rejected, "full")]
)
async def test_a_link_that_ended_says_why(error: Exception | None, kind: type[Exception], words: str) -> None:
    never = asyncio.ensure_future(an_answer(60))
    with pytest.raises(kind, match=words):
        await answered(link(error), never, 10, "gone")
    never.cancel()


async def test_an_answer_that_came_with_the_end_leaves_nothing_behind_that_nobody_looked_at() -> None:
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(came.set_result, None)
    assert await answered(link(LinkLost("cut")), came, 10, "gone")
    with contextlib.suppress(LinkLost):
        await raise_what_ended(link(LinkLost("cut")))
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
