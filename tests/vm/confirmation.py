"""Who confirms an indication, and when: the order that the product's one tolerated loss rests on.

No clock is needed to tell. The gateway's process is stopped by a signal while a subscribed device waits with
its reading; then the device sends. What is confirmed meanwhile was confirmed without the gateway's handler.
"""

import asyncio
from statistics import median

from tests.vm.rig import Failed, Rig

FROZEN_S = 2.0
ALONE_NS = 300_000_000
BP = {"systolic": "133", "diastolic": "85", "pulse": "66"}


async def confirmed_before_the_handler(rig: Rig) -> None:
    """BlueZ confirms an indication while the gateway, which has the handler, does not run at all."""
    await _held(rig, "confirmed")
    await rig.guest.ask("gateway", what="freeze")
    try:
        sent, confirmed = await _confirmed(rig, "confirmed")
        await asyncio.sleep(FROZEN_S)
        handled = [s for s in rig.steps("handler_called") if s["at_ns"] > sent["at_ns"]]
        if handled:
            raise Failed("Not so: the gateway does not run while it is frozen")
    finally:
        await rig.guest.ask("gateway", what="thaw")
    (kept,) = await rig.all_sealed("confirmed")
    handled = [s for s in rig.steps("handler_called") if s["at_ns"] > sent["at_ns"]]
    took = (confirmed["at_ns"] - sent["at_ns"]) / 1e6
    later = (handled[0]["at_ns"] - confirmed["at_ns"]) / 1e9
    rig.notes["confirmation"] = (
        f"confirmed {took:.1f} ms after it was sent, the gateway frozen; "
        f"its handler ran {later:.2f} s after that, when the gateway was let go on"
    )
    if kept.committed_ns < confirmed["at_ns"]:
        raise Failed("Not so: the reading was durable only after it was confirmed")


async def killed_before_the_handler(rig: Rig) -> None:
    """The gateway dies in between: what the device keeps comes again, what it discarded is lost."""
    keys = ("killed", "forgets-at-once")
    for key in keys:
        await _held(rig, key)
    await rig.guest.ask("gateway", what="freeze")
    for key in keys:
        await _confirmed(rig, key)
    await rig.guest.ask("gateway", what="kill")
    if any(rig.readings(key) for key in keys):
        raise Failed("Not so: nothing was sealed before the gateway died")
    await rig.start_gateway(again=True)
    await rig.home.ask("advertise", device="killed")
    await rig.all_sealed("killed")
    (line,) = await rig.ledger("forgets-at-once")
    if not line["discarded"] or rig.readings("forgets-at-once"):
        raise Failed("Not so: the discarded reading is the one that is lost")
    rig.notes["tolerated loss"] = "1 of 1 readings that the device discarded, 0 of 1 that it kept"


async def _held(rig: Rig, key: str) -> None:
    """Let a device measure and be subscribed to; it waits before it sends."""
    await rig.home.ask("disturb", device=key, how="hold")
    await rig.measure(key, **BP)
    await rig.until(lambda: rig.happened("held_back", device=key), f"{key} was subscribed to")


async def _confirmed(rig: Rig, key: str) -> tuple[dict[str, int], dict[str, int]]:
    """Let the device send; return the events of sending and of the confirmation."""
    await rig.home.ask("release", device=key)
    await rig.until(lambda: rig.happened("confirmed", device=key), f"the indication of {key} was confirmed")
    return rig.happened("sent", device=key)[0], rig.happened("confirmed", device=key)[0]


def order(rig: Rig) -> str:
    """Return in which order devices saw confirmations and the gateway's handler was called, in words.

    Both times are put on one clock. Only indications that were alone on the air for a while are counted.
    """
    sent = rig.happened("sent")
    handled = sorted(step["at_ns"] for step in rig.steps("handler_called"))
    gaps = []
    for one in sent:
        confirmed = [
            c["at_ns"]
            for c in rig.happened("confirmed", device=one["device"], packet=one["packet"])
            if one["at_ns"] < c["at_ns"] < one["at_ns"] + ALONE_NS
        ]
        calls = [at for at in handled if one["at_ns"] < at < one["at_ns"] + ALONE_NS]
        neighbours = [s for s in sent if abs(s["at_ns"] - one["at_ns"]) < ALONE_NS]
        if len(confirmed) == len(calls) == len(neighbours) == 1:
            gaps.append((calls[0] - confirmed[0]) / 1e6)
    if not gaps:
        return "no indication was alone"
    return (
        f"of {len(gaps)} indications that were alone, the handler was called after the device saw the "
        f"confirmation in {sum(gap > 0 for gap in gaps)}; call minus confirmation "
        f"{min(gaps):.1f} to {max(gaps):.1f} ms, median {median(gaps):.1f} ms"
    )
