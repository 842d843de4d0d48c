"""The inbox as a queue of people: what the page says of each of them. Pure; times and words come in."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.model import Action, DataType
from cloud_bridge.access.sight import Sight
from cloud_bridge.alerts import Act, Alert, AlertState
from cloud_bridge.connectors.base import Identifier
from cloud_bridge.console.chart import DAYS, Chart, chart
from cloud_bridge.console.language import Language
from cloud_bridge.console.life import HEARS, SEVERITIES, STATES, PastRecord, Steps, repeats, steps
from cloud_bridge.console.pages import PEOPLE, Pages, Turned, page
from cloud_bridge.console.people import KINDS
from cloud_bridge.duty import Duty
from cloud_bridge.orders import reason_line
from cloud_bridge.rules.base import HOME, Finding, Reading, Settings, Severity, Standing
from cloud_bridge.rules.blood_pressure import ConsecutiveRule
from cloud_bridge.rules.parameters import PressureLimit
from cloud_bridge.rules.programme import rules_of
from cloud_bridge.rules.refusals import Refusal, refusal
from cloud_bridge.silence_cause import Cause
from cloud_bridge.store.base import DeadLetter, DeliveryKey, File, HomeHears, Place, Taken
from wire_format.measurement import Absent, Component, Measurement
from wire_format.nomenclature import Quantity, Term

MAX_LETTERS: Final = 20
_ORDER: Final = {Severity.SEVERE: 0, Severity.HIGH: 1, Severity.ROUTINE: 2}
_STANDINGS: Final = {
    Standing.UNCONFIRMED: "not yet confirmed by a second reading",
    Standing.CONFIRMED: "confirmed",
    Standing.DOWNGRADED: "a repeated reading was lower",
    Standing.RESOLVED: "is over",
}
_REFUSALS: Final = {
    Refusal.FAILED: "not used by rules: the measurement failed",
    Refusal.CONTROL_SOLUTION: "not used by rules: control solution",
    Refusal.IMPLAUSIBLE: "not used by rules: implausible",
    Refusal.CONTRADICTORY: "not used by rules: diastolic not below systolic",
    Refusal.REPETITION: "not used by rules: possible repetition",
    Refusal.NO_VALUE: "not used by rules: a value is missing",
}
_QUANTITIES: Final = {
    Quantity.BLOOD_PRESSURE: "blood pressure",
    Quantity.GLUCOSE: "glucose",
    Quantity.BODY_WEIGHT: "weight",
    Quantity.BODY_COMPOSITION: "body composition",
    Quantity.BODY_TEMPERATURE: "temperature",
    Quantity.PULSE_OXIMETRY: "oxygen saturation",
    Quantity.CONTINUOUS_GLUCOSE: "glucose",
    Quantity.PULSE_RATE: "pulse",
}


class Record(PastRecord, Protocol):
    """What the page asks of the store."""

    def queue(self) -> Sequence[Place]:
        """Return who is in the queue: one row a person."""
        ...

    def live_of(self, subjects: Collection[str]) -> Sequence[Alert]:
        """Return the items in the queue of some people."""
        ...

    def alert(self, alert_id: UUID) -> Alert | None:
        """Return one alert."""
        ...

    def files(self, patients: Sequence[str], since: dt.datetime) -> Mapping[str, File]:
        """Return of some patients who they are, their readings by time of measuring, and what is agreed."""
        ...

    @property
    def duty(self) -> Duty:
        """When somebody is on duty here."""
        ...

    def cause_of(self, finding: Finding) -> Cause | None:
        """Return why nothing comes from a patient; None of what is no silence that goes on."""
        ...

    def home_hears(self, alert_id: UUID) -> HomeHears:
        """Return whether the home has heard that somebody saw an item."""
        ...

    def move(self, alert_id: UUID, act: Act) -> Taken:
        """Make a move if it holds; `Rejected` if what is said of it is wrong."""
        ...

    def dead_letters(self) -> Sequence[DeadLetter]:
        """Return what no destination accepted."""
        ...

    def retry_dead(self, key: DeliveryKey, now: dt.datetime) -> None:
        """Let it be delivered again; `Rejected` if there is no such dead letter."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """One alert, in words."""

    alert_id: UUID
    level: str
    severity: str
    standing: str
    late: bool
    reason: str
    repeats: tuple[str, ...]
    since: str
    due: str
    overdue: bool
    seen_by: str | None
    seen_at: str | None
    home: str | None
    steps: Steps


@dataclass(frozen=True, slots=True)
class Row:
    """One reading of the table: the device's own digits."""

    when: str
    quantity: str
    values: str
    remarks: str


@dataclass(frozen=True, slots=True)
class Card:
    """One person (or a home where nobody knows yet whose the reading is).

    `acts` says whether items may be acknowledged by whoever looks; `hidden` names what is not shown to them.
    """

    key: str
    title: str
    detail: str | None
    items: tuple[Item, ...]
    open: bool
    chart: Chart | None
    rows: tuple[Row, ...]
    acts: bool = False
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that a follow-up system refused: what it is, where it should go, and what to do."""

    key: DeliveryKey
    what: str
    error: str


@dataclass(frozen=True, slots=True)
class Inbox:
    """One page of the queue. `letters` are the oldest of `undelivered`; `emergency` was opened by a reason.

    `waiting` and `seen` are the cards of this page; `waiting_count` and `seen_count` are of all pages.
    `off_duty` says until when nobody is on duty, None while somebody is. `done` says what became of the item
    that was just moved, if it is no longer on this page.
    """

    waiting: tuple[Card, ...]
    seen: tuple[Card, ...]
    waiting_count: int
    seen_count: int
    pages: Pages
    emergency: tuple[Card, ...]
    may_open: bool
    undelivered: int
    letters: tuple[Letter, ...]
    off_duty: str | None = None
    done: "Done | None" = None


@dataclass(frozen=True, slots=True)
class Done:
    """What was just moved, in words; the item has a page of its own."""

    alert_id: UUID
    said: str


def inbox(  # noqa: PLR0913, PLR0917 - what a page depends on
    record: Record,
    words: Language,
    zone: dt.tzinfo,
    now: dt.datetime,
    sight: Sight,
    at: Turned | None = None,
    moved: UUID | None = None,
    size: int = PEOPLE,
) -> Inbox:
    """Return a page as `sight` shows it: people who wait first, the most urgent of them on top.

    All people are counted whom `sight` may show; only those on the page are read, and on record as read.
    """
    desk = _Desk(record, words, zone, now, sight)
    queue = desk.visible(record.queue())
    turned = page(queue, at, size)
    opened = [one for one in sight.opened if sight.sees(Action.READ, one, DataType.ALERTS)]
    people: dict[str, list[Alert]] = {one.subject: [] for one in turned.people}
    for alert in record.live_of([*people, *opened]):
        people.setdefault(alert.finding.subject, []).append(alert)
    shown = [one.subject for one in turned.people if people[one.subject] and desk.shows(one.subject)]
    files = desk.files([*shown, *opened])
    cards = [desk.card(one, people[one], files.get(one)) for one in shown]
    dead = record.dead_letters() if sight.may(Action.RETRY_DELIVERY) else ()
    return Inbox(
        emergency=tuple(desk.card(one, people.get(one, []), files[one]) for one in opened),
        may_open=sight.may(Action.BREAK_GLASS, ""),
        waiting=tuple(c for c in cards if c.open),
        seen=tuple(c for c in cards if not c.open),
        waiting_count=sum(not one.seen for one in queue),
        seen_count=sum(one.seen for one in queue),
        pages=turned,
        done=desk.done(moved, shown),
        undelivered=len(dead),
        letters=tuple(desk.letter(one) for one in dead[:MAX_LETTERS]),
        off_duty=None if record.duty.on(now) else words.moment(record.duty.opens(now), zone),
    )


def _urgency(alerts: Sequence[Alert]) -> tuple[bool, int, dt.datetime, dt.datetime]:
    first = [a for a in alerts if a.state is AlertState.OPEN] or list(alerts)
    seen = all(a.state is not AlertState.OPEN for a in alerts)
    level = min(_ORDER[a.urgency] for a in first)
    return seen, level, min(a.due_at for a in first), min(a.finding.since for a in first)


@dataclass(frozen=True, slots=True)
class _Desk:
    record: Record
    words: Language
    zone: dt.tzinfo
    now: dt.datetime
    sight: Sight

    def visible(self, queue: Sequence[Place]) -> list[Place]:
        """Return whose items are in the queue; what was opened in an emergency stands apart."""
        patients = [
            one.subject
            for one in queue
            if not one.subject.startswith(HOME) and one.subject not in self.sight.opened
        ]
        mine = self.sight.among(Action.READ, patients, DataType.ALERTS)
        homes = any(one.subject.startswith(HOME) for one in queue) and self.sight.may(Action.TRIAGE)
        return [one for one in queue if one.subject in mine or (homes and one.subject.startswith(HOME))]

    def shows(self, subject: str) -> bool:
        """Tell whether somebody's card is shown; that it is, is on record."""
        if subject.startswith(HOME):
            return self.sight.sees(Action.TRIAGE)
        return self.sight.sees(Action.READ, subject, DataType.ALERTS)

    def done(self, moved: UUID | None, shown: Collection[str]) -> Done | None:
        """Return what became of an item whose card is not on the page any more."""
        alert = None if moved is None else self.record.alert(moved)
        if alert is None or alert.finding.subject in shown or not self.shows(alert.finding.subject):
            return None
        title = self.title(alert.finding.subject, self.record.known_as(alert.finding.subject))
        state = self.words.say(STATES[alert.state])
        return Done(alert.alert_id, self.words.say("{title}: {state}.", title=title, state=state))

    def files(self, subjects: Sequence[str]) -> Mapping[str, File]:
        """Return what cards show of those who are patients, read at once."""
        patients = [one for one in subjects if not one.startswith(HOME)]
        return self.record.files(patients, self.now - dt.timedelta(days=DAYS))

    def title(self, subject: str, known: Identifier | None) -> str:
        """Return how somebody is called on the page."""
        if subject.startswith(HOME):
            return self.words.say("Someone in home {home}", home=subject.removeprefix(HOME))
        return self.words.say("Patient {number}", number=known.value if known else subject)

    def card(self, subject: str, alerts: Sequence[Alert], file: File | None) -> Card:
        """Return one person's card, open items first; of a home there is no `file`, as nobody is known."""
        ordered = sorted(alerts, key=lambda a: _urgency([a]))
        still_open = any(a.state is AlertState.OPEN for a in alerts)
        title = self.title(subject, None if file is None else file.known_as)
        if file is None:
            items = tuple(self._item(a) for a in ordered)
            return Card(subject, title, self.words.say("Who was it?"), items, still_open, None, (), acts=True)
        shown = self._shown(subject, file.readings)
        readings = [r for r in file.readings if DATA_OF[r.measurement.quantity] in shown]
        told = {r.id for r in readings}
        items = tuple(self._item(a, withheld=not self._tells(a, shown, told)) for a in ordered)
        pressures = [r for r in readings if r.measurement.quantity is Quantity.BLOOD_PRESSURE]
        targets = _targets(file.settings)
        acts = self.sight.may(Action.ACKNOWLEDGE, subject, DataType.ALERTS)
        hidden = tuple(self.words.say(KINDS[k]) for k in dict.fromkeys(DATA_OF.values()) if k not in shown)
        drawn = chart(pressures, targets, self.now, self.zone) if pressures else None
        rows = tuple(self._row(r) for r in reversed(readings))
        until = self.sight.opened.get(subject)
        detail = until and self.words.say("open until {when}", when=self.words.moment(until, self.zone))
        return Card(subject, title, detail or None, items, still_open, drawn, rows, acts, hidden)

    def _shown(self, subject: str, readings: Sequence[Reading]) -> frozenset[DataType]:
        """Return the kinds that may be shown; of those that are there, it is on record that they were."""
        there = {DATA_OF[r.measurement.quantity] for r in readings}
        seen = {kind for kind in there if self.sight.sees(Action.READ, subject, kind)}
        others = set(DATA_OF.values()) - there
        return frozenset(seen | {kind for kind in others if self.sight.may(Action.READ, subject, kind)})

    @staticmethod
    def _tells(alert: Alert, shown: frozenset[DataType], told: set[UUID]) -> bool:
        """Tell whether a reason may be said: its values are of readings, and some kinds are not shown."""
        return shown >= set(DATA_OF.values()) or set(alert.told.evidence) <= told

    def letter(self, dead: DeadLetter) -> Letter:
        """Return a dead letter in words."""
        kinds = {"alert": "A work order for {destination}", "reading": "A reading for {destination}"}
        sentence = kinds.get(dead.key.kind, "Something for {destination}")
        what = self.words.say(sentence, destination=dead.key.destination)
        return Letter(dead.key, what, dead.last_error)

    def _item(self, alert: Alert, *, withheld: bool = False) -> Item:
        words, finding = self.words, alert.told
        seen_at = None if alert.acknowledged_at is None else words.moment(alert.acknowledged_at, self.zone)
        return Item(
            alert_id=alert.alert_id,
            level=alert.urgency.value,
            severity=words.say(SEVERITIES[alert.urgency]),
            standing=words.say(_STANDINGS[finding.standing]),
            late=alert.late,
            reason=words.say("Why is not shown: no consent for it.")
            if withheld
            else reason_line(alert, words.tag, self.record.cause_of(finding)),
            repeats=() if withheld else repeats(alert, words, self.zone),
            since=words.moment(finding.since, self.zone),
            due=words.moment(alert.due_at, self.zone),
            overdue=alert.state is AlertState.OPEN and alert.due_at < self.now,
            seen_by=alert.acknowledged_by,
            seen_at=seen_at,
            home=None if seen_at is None else words.say(HEARS[self.record.home_hears(alert.alert_id)]),
            steps=steps(alert, words, self.zone),
        )

    def _row(self, reading: Reading) -> Row:
        m, words = reading.measurement, self.words
        if reading.measured is None:
            when = words.say("time unknown")
        else:
            when = words.moment(reading.measured.utc, self.zone)
        remarks = [words.say(r.value.replace("_", " ")) for r in m.remarks]
        if reading.repetition_of is not None:
            remarks.append(words.say("possible repetition"))
        if m.failure is not None:
            remarks.insert(0, words.say(m.failure.value.replace("_", " ")))
        refused = refusal(reading)
        if refused is not None:
            remarks.append(words.say(_REFUSALS[refused]))
        return Row(when, words.say(_QUANTITIES[m.quantity]), _values(m, words), "; ".join(remarks))


def _targets(settings: Settings) -> list[PressureLimit]:
    """Return the patient's own targets; none if blood pressure is no matter of their programmes."""
    found = [rule for rule in rules_of(settings) if isinstance(rule, ConsecutiveRule)]
    return [limit for rule in found for limit in _limits(rule, settings)]


def _limits(rule: ConsecutiveRule, settings: Settings) -> tuple[PressureLimit, PressureLimit]:
    own, _ = rule.personal(settings)
    return own.systolic, own.diastolic


def _values(m: Measurement, words: Language) -> str:
    if m.quantity is not Quantity.BLOOD_PRESSURE:
        return ", ".join(f"{_digits(c, words)} {c.unit.value}" for c in m.components)
    pressure = [m.component(t) for t in (Term.SYSTOLIC, Term.DIASTOLIC)]
    shown = "/".join(_digits(c, words) for c in pressure if c is not None)
    unit = next((c.unit.value for c in pressure if c is not None), "")
    pulse = m.component(Term.PULSE_RATE)
    tail = "" if pulse is None else f", {words.say('pulse')} {_digits(pulse, words)}"
    return f"{shown} {_UNITS.get(unit, unit)}{tail}"


_OFF_SCALE: Final = {Absent.ABOVE_RANGE: "HI", Absent.BELOW_RANGE: "LO"}
_UNITS: Final[Mapping[str, str]] = {"mm[Hg]": "mmHg"}


def _digits(component: Component, words: Language) -> str:
    if component.value is not None:
        return str(component.value)
    shown = None if component.absent is None else _OFF_SCALE.get(component.absent)
    return shown or words.say("no value")
