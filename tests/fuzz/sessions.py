"""Every driver over damaged sessions of its profiles' captures, in virtual time.

A visit may end in an error of ours or in `TimeoutError`; nothing else is raised, also in no callback, and
every visit ends: by itself, or when the visit's own limit ends it.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from device_drivers.capture import Exchange, Kind, Session, capture_of
from device_drivers.catalogue import Catalogue
from device_drivers.driver import Reading, RecordCursor
from device_drivers.profile import DeviceProfile
from device_drivers.rehearsal import carry_out, visit_to
from device_drivers.virtual_time import virtually
from tests.fuzz.damage import damaged
from tests.fuzz.guard import HangError, breathe, watched
from wire_format.errors import KitelineError
from wire_format.measurement import Measurement
from wire_format.statements import Undecodable

Case = tuple[DeviceProfile, Session]
GRACE_S: Final = 60.0
_IN_ONE_LOOP: Final = 100
_MOST: Final = 400
"""Events of a damaged session, at most."""


@dataclass
class Counted:
    """A sink that counts, so that no session's readings stay in memory."""

    found: Counter[str] = field(default_factory=Counter)

    def commit(self, readings: Sequence[Reading], *, cursor: RecordCursor | None = None) -> None:
        """Count what was read."""
        del cursor
        if len(readings) > 50:
            raise AssertionError(f"{len(readings)} readings in one commit")
        for one in readings:
            known = isinstance(one, Measurement)
            self.found[
                "readings" if known else "undecodable" if isinstance(one, Undecodable) else "events"
            ] += 1


def cases() -> list[Case]:
    """Return every session of every profile of the live catalogue."""
    profiles = Catalogue().profiles.values()
    return [(p, s) for p in profiles if (capture := capture_of(p.name)) for s in capture.sessions]


def broken(session: Session, chance: random.Random) -> Session:
    """Return a session with some of its events changed, lost, repeated, exchanged or invented."""
    exchange = list(session.exchange)
    for _ in range(chance.randrange(1, 6)):
        _break_one(exchange, chance)
    return session.model_copy(update={"exchange": tuple(exchange[:_MOST])})


def _break_one(exchange: list[Exchange], chance: random.Random) -> None:
    if not exchange:
        return
    at = chance.randrange(len(exchange))
    match chance.randrange(8):
        case 0:
            del exchange[at]
        case 1:
            exchange.insert(at, exchange[at])
        case 2:
            other = chance.randrange(len(exchange))
            exchange[at], exchange[other] = exchange[other], exchange[at]
        case 3:
            exchange.insert(at + 1, Exchange(kind=Kind.REFUSED, code=chance.choice((0x05, 0x0E, 0x80, 0xFD))))
        case 4:
            exchange.insert(at, Exchange(kind=Kind.CLOSED))
        case 5:
            other = chance.randrange(len(exchange))
            exchange[at] = exchange[at].model_copy(update={"on": exchange[other].on or exchange[at].on})
        case _:
            exchange[at] = _damaged(exchange[at], chance)


def _damaged(one: Exchange, chance: random.Random) -> Exchange:
    if one.kind is Kind.ADVERT:
        changes: dict[str, Any] = {
            name: {key: damaged(bytes.fromhex(text), chance).hex() for key, text in values.items()}
            for name, values in (
                ("service_data", one.service_data),
                ("manufacturer_data", one.manufacturer_data),
            )
        }
        return one.model_copy(update=changes)
    return one.model_copy(update={"hex": damaged(one.data, chance).hex()})


async def _visits(chosen: Sequence[tuple[Case, int | None]], found: Counter[str]) -> None:
    """Carry out visits in one loop; raise `AssertionError` naming the session that did what none may do."""
    strays: list[dict[str, Any]] = []

    def stray(_loop: object, context: dict[str, Any]) -> None:
        # The end of a link that a driver does not wait for any more, since it ended for another reason.
        if not isinstance(context.get("exception"), KitelineError):
            strays.append(context)

    asyncio.get_running_loop().set_exception_handler(stray)
    for (profile, session), cut in chosen:
        breathe()
        try:
            ended = await _visit(profile, session, cut, found)
        except (Exception, HangError) as error:
            said = f"{profile.name}, {session.model_dump_json(exclude_defaults=True)}"
            raise AssertionError(f"{type(error).__name__}: {error}: {said}") from error
        if strays:
            raise AssertionError(f"{profile.name}: in a callback: {strays[0]}: {session.model_dump_json()}")
        found["ended in an error" if ended else "ended well"] += 1


async def _visit(profile: DeviceProfile, session: Session, cut: int | None, found: Counter[str]) -> bool:
    visit = visit_to(profile, session, Counted(found))
    try:
        async with asyncio.timeout(float(profile.records.overall_s) + GRACE_S):
            _, error = await carry_out(profile, session, visit, cut)
    except TimeoutError:
        error = TimeoutError()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return error is not None


def fuzz_sessions(count: int, seed: int) -> Counter[str]:
    """Try `count` damaged sessions; return how they ended and what was read; raise at anything else."""
    chance, known = random.Random(seed), cases()  # noqa: S311 - damage, no secret
    found: Counter[str] = Counter()
    with watched():
        for begun in range(0, count, _IN_ONE_LOOP):
            chosen: list[tuple[Case, int | None]] = []
            for _ in range(min(_IN_ONE_LOOP, count - begun)):
                profile, session = chance.choice(known)
                cut = chance.randrange(4) if chance.random() < 0.2 else None
                chosen.append(((profile, broken(session, chance)), cut))
            virtually(_visits(chosen, found))
    return found
