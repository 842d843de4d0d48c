"""Devices that push what they measured: subscribe, take each packet, stop when the device is done.

Each packet is decoded and committed within the handler that received it. There is no end signal: the first
packet may take the profile's `first_s`, then `idle_s` of silence end the visit.

A device that knows several people (`consent` among the steps) is asked for one slot after the other: what
follows consent is done, and waited for, once for each slot whose code the home gave.
"""

import asyncio
from typing import Final

from device_drivers.clock_sync import compare_clock
from device_drivers.consent import ConsentDesk, ConsentRefused
from device_drivers.driver import Visit
from device_drivers.drivers.push_session import PushSession
from device_drivers.link import GattLink, LinkLost
from device_drivers.profile import SequenceStep, StepKind, long_uuid
from device_drivers.sequence import take_steps
from device_drivers.silence import raise_what_ended, until_silent
from wire_format.errors import Misconfigured

_CLOCK: Final = SequenceStep(do=StepKind.CLOCK)


class GattPush:
    """The standard services whose devices send by themselves."""

    def desk(self, link: GattLink, visit: Visit) -> ConsentDesk:
        """Return who asks for consent."""
        return ConsentDesk(link, visit)

    async def collect(self, link: GattLink, visit: Visit) -> None:
        """Take what the device pushes until it is silent or gone. See `Driver.collect`.

        Raises `ConsentRefused` if the device wants consent, and no slot took its code.
        """
        session = PushSession.of(visit)
        before, behind = _around_consent(visit.profile.steps)
        try:
            async with asyncio.timeout(float(visit.profile.records.overall_s)):
                await self._take(link, session, before)
                if behind is None:
                    await _until_silent(link, session)
                else:
                    await self._each_user(link, session, behind)
        except LinkLost:
            await raise_what_ended(link)
            raise
        except TimeoutError:
            return  # it talks without end: what was said is committed, the rest comes with the next visit
        finally:
            session.finish()

    async def _each_user(self, link: GattLink, session: PushSession, steps: tuple[SequenceStep, ...]) -> None:
        desk = self.desk(link, session.visit)
        await desk.open()
        admitted = False
        for slot, code in _in_turn(session.visit):
            session.next_person()
            try:
                opened = await desk.admit(slot, code)
            except LinkLost:
                if admitted:
                    return  # it closed after what it sent: the next visit begins with another slot
                raise
            if opened:
                admitted = True
                await self._take(link, session, steps)
                await _until_silent(link, session)
        if not admitted:
            raise ConsentRefused(
                "The device gave nobody's readings: see the events of this visit for what to correct."
            )

    async def _take(self, link: GattLink, session: PushSession, steps: tuple[SequenceStep, ...]) -> None:
        """Take steps; without any in the profile compare the clock, then subscribe to everything."""
        visit = session.visit

        async def own(step: SequenceStep) -> None:
            if step.do is StepKind.CLOCK:
                session.comparison = await compare_clock(link, visit)
            elif step.on is not None:
                await _subscribe(link, session, step.on)

        if visit.profile.steps:
            await take_steps(link, steps, own)
            return
        await take_steps(link, (_CLOCK,), own)
        await self._subscribe_all(link, session)

    async def _subscribe_all(self, link: GattLink, session: PushSession) -> None:
        profile, offered = session.visit.profile, link.characteristics()
        wanted = [name for name in profile.records.characteristics if long_uuid(name) in offered]
        if not wanted:
            raise Misconfigured(
                f"The device offers none of {', '.join(profile.records.characteristics)}: "
                f"the profile {profile.name} is not the right one for it."
            )
        for name in wanted[:1] if profile.records.first_offered else wanted:
            await _subscribe(link, session, name)


def _around_consent(
    steps: tuple[SequenceStep, ...],
) -> tuple[tuple[SequenceStep, ...], tuple[SequenceStep, ...] | None]:
    """Return the steps before consent is asked for, and those after it; None if it is not asked for."""
    kinds = [step.do for step in steps]
    if StepKind.CONSENT not in kinds:
        return steps, None
    place = kinds.index(StepKind.CONSENT)
    return steps[:place], steps[place + 1 :]


def _in_turn(visit: Visit) -> list[tuple[int, int]]:
    """Return slots and codes, at each visit beginning with another one: not every device hears of two."""
    consents = sorted(visit.consents.items())
    first = visit.number % len(consents)
    return consents[first:] + consents[:first]


async def _subscribe(link: GattLink, session: PushSession, name: str) -> None:
    if name not in session.subscribed:
        await link.subscribe(long_uuid(name), session.handler(name))
        session.subscribed.add(name)


async def _until_silent(link: GattLink, session: PushSession) -> None:
    records = session.visit.profile.records
    await until_silent(link, session.heard, float(records.first_s), float(records.idle_s))
