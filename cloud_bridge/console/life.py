"""The life of an item in words: what may be done with it, who has it, and all that happened. Pure."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from cloud_bridge.access.model import Action, DataType
from cloud_bridge.access.sight import Sight
from cloud_bridge.alerts import GIVEN_BACK, LIVE, OUTCOMES, Alert, AlertState, Outcome
from cloud_bridge.connectors.base import Identifier
from cloud_bridge.console.language import Language
from cloud_bridge.orders import reason_line
from cloud_bridge.rules.base import GATEWAY, HOME, Severity
from cloud_bridge.rules.care import CareRole
from cloud_bridge.rules.programme import care_of, say
from cloud_bridge.store.base import HomeHears, LifeEvent

SEVERITIES: Final = {Severity.SEVERE: "Severe", Severity.HIGH: "High", Severity.ROUTINE: "Routine"}
OUTCOME_WORDS: Final = {
    Outcome.RE_MEASURED: "measured again",
    Outcome.CALLED: "called",
    Outcome.MEDICATION_CHANGED: "medication changed",
    Outcome.ADMITTED: "admitted",
    Outcome.FALSE_ALARM: "false alarm",
    Outcome.REPAIRED: "repaired",
}
STATES: Final = {
    AlertState.OPEN: "open",
    AlertState.ACKNOWLEDGED: "seen",
    AlertState.IN_PROGRESS: "being worked on",
    AlertState.RESOLVED: "resolved",
    AlertState.WITHDRAWN: "withdrawn",
    AlertState.FOLDED: "part of another item",
}
ASKED: Final = {
    CareRole.NURSE: "nurse",
    CareRole.PHYSICIAN: "physician",
    CareRole.ORGANIZATION: "whoever is in charge of the ward",
    CareRole.FAMILY_DOCTOR: "family doctor",
    CareRole.PHARMACIST: "pharmacist",
}
HAPPENED: Final = {
    "raised": "Raised",
    "raised_late": "Raised; the data came late",
    "unconfirmed": "Found again, not yet confirmed",
    "confirmed": "Found again, confirmed",
    "downgraded": "A repeated reading was lower",
    "over": "It is over",
    "withdrawn": "Withdrawn: late data undid it",
    "reopened": "Opened again",
    "repeated": "One more episode came in",
    "asked_again": "One more episode came in; asked again",
    "unfolded": "An episode was taken out: late data undid it",
    "folded": "Told by the open item of the same problem",
    "released": "An item of its own: the one that told of it was withdrawn",
    "acknowledged": "Seen",
    "in_progress": "Being worked on",
    "resolved": "Resolved",
    "escalated": "Handed on",
    "given_to": "Given to somebody else in the hospital's system",
    "unanswered": "Nobody came, and nobody further is to be asked",
}
HEARS: Final = {
    HomeHears.NOBODY: "Seen. Nobody at home is told: no gateway is there yet.",
    HomeHears.WAITS: "Seen. The home is told as soon as its gateway is connected.",
    HomeHears.TOLD: "Seen. The home was told.",
}
_ALL_KINDS: Final = (
    DataType.BLOOD_PRESSURE,
    DataType.GLUCOSE,
    DataType.BODY,
    DataType.TEMPERATURE,
    DataType.OXIMETRY,
)


class PastRecord(Protocol):
    """What the page of what was resolved asks of the store."""

    def resolved(self, since: dt.datetime) -> Sequence[Alert]:
        """Return what was resolved since a moment, the newest first."""
        ...

    def events(self, alert_id: UUID) -> Sequence[LifeEvent]:
        """Return all that happened to an alert, in order."""
        ...

    def known_as(self, patient: str) -> Identifier | None:
        """Return who a patient is to the hospital."""
        ...

    def owners(self, readings: Collection[UUID]) -> set[str | None]:
        """Return whose some readings are now; None stands for nobody, or for what is not there."""
        ...


@dataclass(frozen=True, slots=True)
class Steps:
    """What a card offers of an item: which buttons, and in which words who has it now.

    `request` is the asking that it shows: a form answers that one and no later one.
    """

    acknowledge: bool
    begin: bool
    outcomes: tuple[tuple[str, str], ...]
    next_role: str | None
    request: str
    asked: str | None
    works: str | None


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of an item's history."""

    when: str
    what: str
    who: str


@dataclass(frozen=True, slots=True)
class Past:
    """One item with all that happened to it; `steps` are what may still be done by whoever looks."""

    alert_id: UUID
    title: str
    state: str
    level: str
    severity: str
    reason: str
    repeats: tuple[str, ...]
    outcome: str
    lines: tuple[Happened, ...]
    steps: Steps | None = None


def steps(alert: Alert, words: Language, zone: dt.tzinfo) -> Steps:
    """Return what may be done with an item that is in the queue."""
    care = care_of(alert.finding)
    further = care.next_role(alert.escalation)
    begun = alert.state is AlertState.IN_PROGRESS and alert.moved_at is not None
    asked = words.say("Asked now: {role}", role=words.say(ASKED[care.role(alert.escalation)]))
    when = "" if alert.moved_at is None else words.moment(alert.moved_at, zone)
    return Steps(
        acknowledge=alert.state is AlertState.OPEN,
        begin=alert.state in {AlertState.OPEN, AlertState.ACKNOWLEDGED},
        outcomes=tuple((o.value, words.say(OUTCOME_WORDS[o])) for o in OUTCOMES[alert.finding.queue]),
        next_role=None if further is None else words.say(ASKED[further]),
        request=str(alert.request),
        asked=asked if alert.escalation else None,
        works=words.say("{name} works on it, since {when}.", name=alert.moved_by, when=when)
        if begun
        else None,
    )


def repeats(alert: Alert, words: Language, zone: dt.tzinfo) -> tuple[str, ...]:
    """Return the episodes that an item tells of beside the one it speaks of first, the newest on top."""
    others = [one.finding for one in reversed(alert.episodes) if one.finding is not alert.lead]
    return tuple(
        words.say(
            "{when}: {reason}", when=words.moment(one.since, zone), reason=say(one, words.tag, "reason")
        )
        for one in others
    )


def outcome_of(alert: Alert, words: Language) -> str:
    """Return what came of a resolved item, in words."""
    said = "the outcome was not told" if alert.outcome is None else OUTCOME_WORDS[alert.outcome]
    return words.say(said)


def first_one(alert: Alert, words: Language, zone: dt.tzinfo) -> str:
    """Return what somebody is told whose move came second."""
    state = words.say(STATES[alert.state])
    if alert.state is AlertState.RESOLVED:
        state = f"{state} ({outcome_of(alert, words)})"
    if alert.moved_at is None or alert.moved_by is None:
        return words.say("Nothing was changed: it is {state} by now.", state=state)
    when = words.moment(alert.moved_at, zone)
    return words.say(
        "Nothing was changed: {name} was first, {when}. It is {state}.",
        name=alert.moved_by,
        when=when,
        state=state,
    )


def asked_anew(alert: Alert, words: Language) -> str:
    """Return what somebody is told who answered an asking that is over."""
    role = words.say(ASKED[care_of(alert.finding).role(alert.escalation)])
    return words.say(
        "Nothing was changed: since this page was opened something happened, and the item asks anew "
        "({role}). Look at it again first.",
        role=role,
    )


def resolved(
    record: PastRecord, words: Language, zone: dt.tzinfo, since: dt.datetime, sight: Sight
) -> list[Past]:
    """Return what was resolved since a moment, as `sight` shows it; patients outside of it are left out."""
    seen: dict[str, bool] = {}

    def shown(subject: str) -> bool:
        if subject not in seen:
            seen[subject] = shows(sight, subject)
        return seen[subject]

    return [
        item(record, words, zone, sight, alert)
        for alert in record.resolved(since)
        if shown(alert.finding.subject)
    ]


def shows(sight: Sight, subject: str) -> bool:
    """Tell whether somebody's items are shown to whoever looks; that they are is on record."""
    if subject.startswith(HOME):
        return sight.sees(Action.TRIAGE)
    return sight.sees(Action.READ, subject, DataType.ALERTS)


def item(record: PastRecord, words: Language, zone: dt.tzinfo, sight: Sight, alert: Alert) -> Past:
    """Return one item with its history, as `sight` shows it."""
    subject = alert.finding.subject
    owners = record.owners(alert.told.evidence)
    if subject.startswith(HOME):
        title = words.say("Someone in home {home}", home=subject.removeprefix(HOME))
        tells = owners <= {None}
    else:
        known = record.known_as(subject)
        title = words.say("Patient {number}", number=known.value if known else subject)
        # A reason quotes values: it is told to those who may read all kinds, that they did is on record.
        own = subject.startswith(GATEWAY) or owners <= {subject}
        tells = (
            own
            and all(sight.may(Action.READ, subject, kind) for kind in _ALL_KINDS)
            and all(sight.sees(Action.READ, subject, kind) for kind in _ALL_KINDS)
        )
    return Past(
        alert_id=alert.alert_id,
        title=title,
        state=words.say(STATES[alert.state]),
        level=alert.urgency.value,
        severity=words.say(SEVERITIES[alert.urgency]),
        reason=reason_line(alert, words.tag) if tells else words.say("Why is not shown: no consent for it."),
        repeats=repeats(alert, words, zone) if tells else (),
        outcome=outcome_of(alert, words),
        lines=tuple(_line(event, words, zone) for event in record.events(alert.alert_id)),
        steps=steps(alert, words, zone) if alert.state in LIVE and _acts(sight, subject) else None,
    )


def _acts(sight: Sight, subject: str) -> bool:
    if subject.startswith(HOME):
        return sight.may(Action.TRIAGE)
    return sight.may(Action.ACKNOWLEDGE, subject, DataType.ALERTS)


def _line(event: LifeEvent, words: Language, zone: dt.tzinfo) -> Happened:
    what = words.say(HAPPENED.get(event.what, event.what))
    if event.asked is not None:
        what = f"{what} → {words.say(ASKED[event.asked])}"
    if event.outcome is not None:
        what = f"{what}: {words.say(OUTCOME_WORDS[event.outcome])}"
    if event.reason:
        what = f"{what} · {words.say(GIVEN_BACK) if event.reason == GIVEN_BACK else event.reason}"
    return Happened(words.moment(event.at, zone), what, event.by or words.say("by itself"))
