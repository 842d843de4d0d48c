"""Between the broker's answers and those who wait for them."""

import asyncio
import datetime as dt

from cloud_bridge.subscriber import Subscriber
from service_kit.log import silent


class OneLine:
    """Takes every message, and leaves the answer to the test."""

    up = True

    def publish(self, _topic: str, _payload: bytes, *, retain: bool = False) -> int:
        assert not retain
        return 1


def subscriber() -> Subscriber:
    class Nowhere:
        def accept_all(self, messages: list[tuple[str, bytes]], now: dt.datetime) -> None:
            raise AssertionError((messages, now))

    one = Subscriber(Nowhere(), lambda: dt.datetime.now(dt.UTC), silent(), lambda: None, lambda: None)
    one.line = OneLine()
    return one


async def test_the_broker_answers_whoever_waits() -> None:
    one = subscriber()
    waiting = asyncio.create_task(one.publish("a", b""))
    await asyncio.sleep(0)
    one.answered(1, None)
    assert await waiting


async def test_an_answer_or_a_lost_line_after_an_end_disturbs_nothing() -> None:
    """A bridge that is told to end may still hear how the broker took its last message."""
    one = subscriber()
    for later in (lambda: one.answered(1, None), one.line_down):
        waiting = asyncio.create_task(one.publish("a", b""))
        await asyncio.sleep(0)
        waiting.cancel()
        later()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
