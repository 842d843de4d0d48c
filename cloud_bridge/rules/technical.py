"""TECHNICAL: battery, memory, clock and a gateway that is silent. For the installer, never for clinicians.

What it stands on are signs: events that a home reported, how its devices' clocks stood when they were read,
and that something came from it at all. None of them is a health value.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final
from uuid import UUID

from pydantic import Field

from cloud_bridge.rules.base import Finding, Settings, Severity, Standing, finding_id
from cloud_bridge.rules.episodes import clusters, plus, soonest
from cloud_bridge.rules.parameters import Parameters
from cloud_bridge.rules.rule import Rule
from wire_format.measurement import DeviceIdentity, Measurement, Remark
from wire_format.statements import DeviceEvent, DeviceEventKind


class SignKind(StrEnum):
    """What a sign says."""

    BATTERY_LOW = "battery_low"
    MEMORY_FULL = "memory_full"
    CLOCK_WRONG = "clock_wrong"
    CLOCK_RIGHT = "clock_right"
    HEARD = "heard"


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign from a home. `device` is a device's id, "" for the gateway itself; `name` maker and model."""

    id: UUID
    kind: SignKind
    when: dt.datetime
    device: str = ""
    name: str = ""


_EVENTS: Final = {
    DeviceEventKind.BATTERY_LOW: SignKind.BATTERY_LOW,
    DeviceEventKind.MEMORY_FULL: SignKind.MEMORY_FULL,
    DeviceEventKind.CLOCK_REFUSED: SignKind.CLOCK_WRONG,
    DeviceEventKind.CLOCK_SET: SignKind.CLOCK_RIGHT,
}
_WRONG: Final = frozenset({Remark.CLOCK_UNSET, Remark.CLOCK_INVALID, Remark.CLOCK_AHEAD})


def sign_of_event(event: DeviceEvent) -> Sign | None:
    """Return what an event of a device says; None if it is nothing to repair."""
    kind = _EVENTS.get(event.kind)
    if kind is None:
        return None
    return Sign(event.event_id, kind, event.at, str(event.device.device_id), _name(event.device))


def sign_of_clock(m: Measurement) -> Sign | None:
    """Return what a reading says of its device's clock; None of one without a clock, or of an old record."""
    remarks = set(m.remarks)
    if Remark.STORED_RECORD in remarks:
        return None  # an old record has the old clock
    if remarks & _WRONG:
        kind = SignKind.CLOCK_WRONG
    elif m.time.stated is not None:
        kind = SignKind.CLOCK_RIGHT
    else:
        return None
    return Sign(m.measurement_id, kind, m.time.received_at, str(m.device.device_id), _name(m.device))


def concerns_equipment(item: object) -> bool:
    """Whether an item of an envelope may open something for the installer."""
    match item:
        case DeviceEvent():
            return sign_of_event(item) is not None
        case Measurement():
            sign = sign_of_clock(item)
            return sign is not None and sign.kind is SignKind.CLOCK_WRONG
        case _:
            return False


def _name(device: DeviceIdentity) -> str:
    """Return maker and model: enough to find it in a home, and nobody's address."""
    return f"{device.maker} {device.model}"


class TechnicalParameters(Parameters):
    """After how long a gateway is silent, and how long one battery or full memory is the same one."""

    silent_after_hours: int = Field(ge=1)
    fold_days: int = Field(ge=1)


class TechnicalRule(Rule[TechnicalParameters]):
    """TECHNICAL: one finding per device and trouble, and per silence of the gateway."""

    id = "TECHNICAL"
    parameters = TechnicalParameters
    depth: ClassVar[dt.timedelta] = dt.timedelta(days=30)

    def findings(self, signs: Sequence[Sign], settings: Settings, now: dt.datetime) -> frozenset[Finding]:
        """Return what holds of one home's signs, in any order, at `now` (UTC)."""
        own, statements = self.personal(settings)
        if not own.enabled:
            return frozenset()
        case = _Technical(self, own, statements, settings.subject, now)
        ordered = _ordered(signs)
        return frozenset([*case.folded(ordered), *case.clocks(ordered), *case.silences(ordered)])

    def wakes(self, signs: Sequence[Sign], settings: Settings, now: dt.datetime) -> dt.datetime | None:
        """Return the first moment after `now` at which the gateway would be silent."""
        own, _ = self.personal(settings)
        heard = [s.when for s in signs if s.kind is SignKind.HEARD]
        if not own.enabled:
            return None
        last = max((at for at in heard if at <= now), default=None)
        due = None if last is None else plus(last, dt.timedelta(hours=own.silent_after_hours))
        return soonest(*(at for at in (due, *heard) if at is not None and at > now))


@dataclass(frozen=True, slots=True)
class _Technical:
    rule: TechnicalRule
    own: TechnicalParameters
    statements: tuple[UUID, ...]
    subject: str
    now: dt.datetime

    def folded(self, ordered: Sequence[Sign]) -> Iterable[Finding]:
        """Yield low batteries and full memories: of one device those close to each other are one."""
        for kind in (SignKind.BATTERY_LOW, SignKind.MEMORY_FULL):
            for device in _devices(ordered, kind):
                signs = [s for s in ordered if s.kind is kind and s.device == device]
                for episode in clusters(signs, dt.timedelta(days=self.own.fold_days)):
                    yield self._finding(episode, kind.value, episode[-1].when)

    def clocks(self, ordered: Sequence[Sign]) -> Iterable[Finding]:
        """Yield clocks that are wrong: until one is right again, it is one finding."""
        for device in _devices(ordered, SignKind.CLOCK_WRONG):
            wrong: list[Sign] = []
            told = (SignKind.CLOCK_WRONG, SignKind.CLOCK_RIGHT)
            for sign in (s for s in ordered if s.device == device and s.kind in told):
                if sign.kind is SignKind.CLOCK_WRONG:
                    wrong.append(sign)
                elif wrong:
                    yield self._finding([*wrong, sign], "clock_wrong", wrong[-1].when, over=True)
                    wrong = []
            if wrong:
                yield self._finding(wrong, "clock_wrong", wrong[-1].when)

    def silences(self, ordered: Sequence[Sign]) -> Iterable[Finding]:
        """Yield the gaps in which nothing came from the gateway; the last one may go on."""
        longest = dt.timedelta(hours=self.own.silent_after_hours)
        heard = [s for s in ordered if s.kind is SignKind.HEARD and s.when <= self.now]
        for index, last in enumerate(heard):
            following = heard[index + 1 : index + 2]
            ends = following[0].when if following else self.now
            if ends - last.when >= longest:
                came_true = plus(last.when, longest)
                yield self._finding([last, *following], "silent", came_true, over=bool(following))

    def _finding(
        self, stood_on: Sequence[Sign], text: str, came_true: dt.datetime, *, over: bool = False
    ) -> Finding:
        first, values = stood_on[0], {"device": stood_on[0].name, "hours": str(self.own.silent_after_hours)}
        return Finding(
            finding_id=finding_id(self.subject, f"{self.rule.id}:{text}", first.id),
            rule=self.rule.id,
            version=self.rule.version,
            subject=self.subject,
            severity=Severity.ROUTINE if over else self.own.severity,
            standing=Standing.RESOLVED if over else Standing.CONFIRMED,
            evidence=tuple(s.id for s in stood_on),
            statements=self.statements,
            since=first.when,
            reason=tuple(sorted({"text": text, **values}.items())),
            programme=self.rule.programme,
            queue=self.own.queue,
            came_true=came_true,
        )


def _ordered(signs: Iterable[Sign]) -> list[Sign]:
    return sorted(set(signs), key=lambda s: (s.when, s.id, s.kind))


def _devices(ordered: Iterable[Sign], kind: SignKind) -> list[str]:
    return sorted({s.device for s in ordered if s.kind is kind})
