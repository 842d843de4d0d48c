"""The ordered steps of a profile, carried out before records come."""

import asyncio
from collections.abc import Awaitable, Callable

from device_drivers.link import AttError, GattLink
from device_drivers.profile import SequenceStep, StepKind, long_uuid

Deed = Callable[[SequenceStep], Awaitable[None]]
"""What a driver does at a step of its own: subscribing, comparing the clock, asking for consent."""


async def take_steps(link: GattLink, steps: tuple[SequenceStep, ...], own: Deed) -> None:
    """Carry out `steps` in order; `own` takes those that a driver carries out.

    Raises `AttError` at a refused step, unless the profile says that its refusal does not end the visit.
    """
    for step in steps:
        try:
            await _take(link, step, own)
        except AttError:
            if step.refusal_ends:
                raise


async def _take(link: GattLink, step: SequenceStep, own: Deed) -> None:
    match step:
        case SequenceStep(do=StepKind.WAIT):
            await asyncio.sleep(step.ms / 1000)
        case SequenceStep(do=StepKind.READ, on=str(name)):
            await link.read(long_uuid(name))
        case SequenceStep(do=StepKind.WRITE, on=str(name), hex=str(data)):
            await link.write(long_uuid(name), bytes.fromhex(data))
        case _:
            await own(step)
