"""Alerts: the list, one with its history and evidence, and the acts on it."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Final
from uuid import UUID

from fastapi import FastAPI, Header, Path, Query, Request, Response

from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.model import Action, DataType
from cloud_bridge.alerts import LIVE, OUTCOMES, Act, Actor, Alert, AlertState, Move, Outcome
from cloud_bridge.api.v1.answers import answer, revision_in, tag_of
from cloud_bridge.api.v1.asked import AlertQuery, Noted, Resolved, after, place
from cloud_bridge.api.v1.door import Caller, Changes, Reads
from cloud_bridge.api.v1.problem import ApiError, Kind
from cloud_bridge.api.v1.shapes import (
    EXAMPLE_ID,
    AlertPage,
    AlertShown,
    AlertWhole,
    Happened,
    ReadingShown,
    Withheld,
)
from cloud_bridge.console.life import first_one
from cloud_bridge.orders import reason_line
from cloud_bridge.rules.base import GATEWAY, HOME, Reading
from cloud_bridge.rules.programme import care_of
from cloud_bridge.store.base import Taken
from cloud_bridge.store.listings import AlertsAsked
from wire_format.errors import Rejected
from wire_format.nomenclature import Quantity

AlertPath = Annotated[UUID, Path(examples=[EXAMPLE_ID])]
Seen = Annotated[
    str | None,
    Header(
        alias="If-Match", description="The ETag, or the tag, of the item as it was seen.", examples=['"2"']
    ),
]
AT_ONCE: Final = 100
_PERSONAL: Final = (Move.ACKNOWLEDGE, Move.BEGIN, Move.RESOLVE, Move.ESCALATE)
_STEPS: Final = {
    AlertState.OPEN: _PERSONAL,
    AlertState.ACKNOWLEDGED: _PERSONAL[1:],
    AlertState.IN_PROGRESS: _PERSONAL[2:],
}
_WITHHELD: Final = Withheld(reason="no_consent")

Owned = Mapping[UUID, tuple[str | None, Quantity]]


def register(api: FastAPI, add: Callable[..., None]) -> None:
    """Add the routes."""
    add(api, "GET", "/alerts", alerts, AlertPage, "List alerts")
    add(api, "GET", "/alerts/{alert_id}", alert, AlertWhole, "Read one alert", conditional=True)
    for move, doing in (
        (acknowledge, "Say that somebody saw it"),
        (begin, "Say that somebody works on it"),
        (resolve, "Say what came of it"),
        (escalate, "Ask the next role"),
    ):
        add(api, "POST", f"/alerts/{{alert_id}}/{move.__name__}", move, AlertWhole, doing, conditional=True)


def alerts(who: Reads, request: Request, asked: Annotated[AlertQuery, Query()]) -> Response:
    """List alerts, the latest raised first; those that you may not see are left out."""
    listings = who.desk.listings
    wanted = AlertsAsked(
        asked.queue,
        frozenset(asked.state or LIVE),
        frozenset(asked.severity),
        asked.role,
        asked.patient,
    )
    found = _visible(who, wanted, after(asked.cursor), asked.limit + 1)
    page = found[: asked.limit]
    seen = {one for one in {a.finding.subject for a in page} if _sees(who.sight.sees, one)}
    owned = listings.quantities({i for a in page for i in a.told.evidence})
    items = [
        AlertShown.model_validate(_fields(who, a, _tells(who, a, owned)))
        for a in page
        if a.finding.subject in seen
    ]
    more = place(page[-1].raised_at, page[-1].alert_id) if len(found) > asked.limit else None
    return answer(request, AlertPage(items=items, next=more), more=more)


def _visible(
    who: Caller, wanted: AlertsAsked, place: tuple[dt.datetime, UUID] | None, limit: int
) -> list[Alert]:
    """Return so many alerts that may be seen; of each subject it is asked once, of no more than needed."""
    may: dict[str, bool] = {}
    found: list[Alert] = []
    at_once = max(limit, AT_ONCE)
    while len(found) < limit:
        some = who.desk.listings.alerts(wanted, place, at_once)
        people = {one.finding.subject for one in some if not one.finding.subject.startswith((HOME, GATEWAY))}
        who.sight.among(Action.READ, sorted(people), DataType.ALERTS)  # looked up at once
        for one in some:
            subject = one.finding.subject
            if subject not in may:
                may[subject] = _sees(who.sight.may, subject)
            # The item as a whole may be graver than its first episode, which is what a row is found by.
            fits = not wanted.severities or one.told.severity in wanted.severities
            if fits and may[subject] and len(found) < limit:
                found.append(one)
        if len(some) < at_once:
            break
        place = some[-1].raised_at, some[-1].alert_id
    return found


def alert(who: Reads, request: Request, alert_id: AlertPath) -> Response:
    """Read one alert with its history and the readings it stands on, as far as consent allows."""
    found = who.desk.alerts.alert(alert_id)
    if found is None:
        raise ApiError(Kind.NOT_ALLOWED)
    who.must(_sees(who.sight.does, found.finding.subject))
    return _whole(who, request, found)


def acknowledge(
    who: Changes, request: Request, alert_id: AlertPath, said: Noted | None = None, if_match: Seen = None
) -> Response:
    """Say that somebody saw it. The patient's home is told, if a gateway is there."""
    return _move(who, request, alert_id, Move.ACKNOWLEDGE, if_match, said.note if said else "")


def begin(
    who: Changes, request: Request, alert_id: AlertPath, said: Noted | None = None, if_match: Seen = None
) -> Response:
    """Say that somebody works on it."""
    return _move(who, request, alert_id, Move.BEGIN, if_match, said.note if said else "")


def resolve(
    who: Changes, request: Request, alert_id: AlertPath, said: Resolved, if_match: Seen = None
) -> Response:
    """Say that it is done, and what came of it."""
    return _move(who, request, alert_id, Move.RESOLVE, if_match, said.note, said.outcome)


def escalate(
    who: Changes, request: Request, alert_id: AlertPath, said: Noted | None = None, if_match: Seen = None
) -> Response:
    """Hand it on: the next role is asked, with a due time of its own."""
    return _move(who, request, alert_id, Move.ESCALATE, if_match, said.note if said else "")


def _move(  # noqa: PLR0913, PLR0917 - all that an act is made of
    who: Caller,
    request: Request,
    alert_id: UUID,
    move: Move,
    seen: str | None,
    note: str,
    outcome: Outcome | None = None,
) -> Response:
    page = who.desk.room.page
    found = who.desk.alerts.alert(alert_id)
    if found is None:
        raise ApiError(Kind.NOT_ALLOWED)
    who.must(_may_move(who, found, move))
    if seen is None:
        raise ApiError(Kind.NOT_SEEN)
    revision = revision_in(seen)
    act = Act(move, Actor.PERSON, page.clock(), who.account.name, outcome, " ".join(note.split()))
    try:
        taken = who.desk.alerts.move(alert_id, act, revision)
    except Rejected as error:
        raise ApiError(Kind.NO_SUCH_STEP) from error
    if not taken.held:
        raise _second(who, taken, revision)
    page.acknowledged()
    return _whole(who, request, taken.alert)


def _second(who: Caller, taken: Taken, seen: int | None) -> ApiError:
    """Return what somebody is told whose act did not hold: who was first, or that there is no such step."""
    if seen is None or taken.alert.revision == seen:
        return ApiError(Kind.NO_SUCH_STEP, headers={"ETag": tag_of(taken.alert.revision)})
    said = first_one(taken.alert, who.words, who.desk.room.page.zone)
    return ApiError(Kind.CHANGED, headers={"ETag": tag_of(taken.alert.revision)}, said=said)


def _may_move(who: Caller, found: Alert, move: Move) -> bool:
    reason, subject = f"{move.value} {found.alert_id}", found.finding.subject
    if subject.startswith(HOME):
        return who.sight.does(Action.TRIAGE, reason=reason)
    return who.sight.does(Action.ACKNOWLEDGE, subject, DataType.ALERTS, reason=reason)


def _sees(asks: Callable[..., bool], subject: str) -> bool:
    """Ask whether somebody's alerts are to be seen; of a home's unknown people and of equipment, the site."""
    if subject.startswith(HOME):
        return asks(Action.TRIAGE)
    if subject.startswith(GATEWAY):
        return asks(Action.SEE_DEVICES)
    return asks(Action.READ, subject, DataType.ALERTS)


def visible(who: Caller, found: Alert) -> bool:
    """Tell whether an alert is to be seen; that it is shown is on record."""
    return _sees(who.sight.sees, found.finding.subject)


def _tells(who: Caller, found: Alert, owned: Owned) -> bool:
    """Tell whether a reason may be said: it quotes values of the readings that the alert stands on."""
    subject, evidence = found.finding.subject, found.told.evidence
    if subject.startswith(GATEWAY):
        return True
    # Of what nobody knew whose it was, somebody may be known by now.
    whose = None if subject.startswith(HOME) else subject
    if any(i not in owned or owned[i][0] != whose for i in evidence):
        return False
    if whose is None:
        return True
    kinds = {DATA_OF.get(owned[i][1]) for i in evidence}
    return _all_shown(who, subject, kinds)


def _all_shown(who: Caller, subject: str, kinds: Iterable[DataType | None]) -> bool:
    """Tell whether all of some kinds may be shown; only if so, it is on record that they were."""
    known = list(kinds)
    sight = who.sight
    if any(kind is None or not sight.may(Action.READ, subject, kind) for kind in known):
        return False
    return all(sight.sees(Action.READ, subject, kind) for kind in known)


def _whole(who: Caller, request: Request, found: Alert) -> Response:
    listings, finding = who.desk.listings, found.told
    readings = _shown(who, found, listings.evidence(finding.evidence))
    owned = listings.quantities(finding.evidence)
    signs = finding.subject.startswith(GATEWAY)  # what equipment says of itself, no readings
    whole = AlertWhole.model_validate(
        {
            **_fields(who, found, _tells(who, found, owned)),
            "history": [Happened.of(one) for one in who.desk.alerts.events(found.alert_id)],
            "evidence": readings,
            "evidence_withheld": 0 if signs else len(finding.evidence) - len(readings),
        }
    )
    return answer(request, whole, found.revision)


def _shown(who: Caller, found: Alert, readings: Sequence[Reading]) -> list[ReadingShown]:
    """Return the readings that may be shown: of a home's unknown people, to whoever sees to them."""
    subject, sight = found.finding.subject, who.sight
    if subject.startswith(HOME):
        return [ReadingShown.of(one) for one in readings if one.patient is None]
    own = [one for one in readings if one.patient == subject]
    kinds = {DATA_OF[one.measurement.quantity] for one in own if one.measurement.quantity in DATA_OF}
    seen = {kind for kind in kinds if sight.sees(Action.READ, subject, kind)}
    return [ReadingShown.of(one) for one in own if DATA_OF.get(one.measurement.quantity) in seen]


def _fields(who: Caller, found: Alert, tells: bool) -> dict[str, object]:  # noqa: FBT001 - an answer just given
    finding, subject = found.told, found.finding.subject
    nobody = subject.startswith((HOME, GATEWAY))
    cause = who.desk.alerts.cause_of(finding) if tells else None
    return {
        "alert_id": found.alert_id,
        "tag": tag_of(found.revision),
        "state": found.state,
        "severity": finding.severity,
        "urgency": found.urgency,
        "standing": finding.standing,
        "queue": finding.queue,
        "late": found.late,
        "rule": finding.rule,
        "programme": finding.programme,
        "version": finding.version,
        "patient": None if nobody else subject,
        "home": subject.partition(":")[2] if nobody else None,
        "why": reason_line(found, who.words.tag, cause) if tells else None,
        "why_withheld": None if tells else _WITHHELD,
        "since": finding.since,
        "episodes": len(found.episodes),
        "folded_into": found.folded_into,
        "raised_at": found.raised_at,
        "due_at": found.due_at,
        "asked": care_of(found.finding).role(found.escalation),
        "escalation": found.escalation,
        "acknowledged_at": found.acknowledged_at,
        "acknowledged_by": found.acknowledged_by,
        "moved_at": found.moved_at,
        "moved_by": found.moved_by,
        "outcome": found.outcome,
        "may": _steps(who, found),
    }


def _steps(who: Caller, found: Alert) -> list[Move]:
    """Return what whoever asks may do with it now: by its state, its queue, and the policies."""
    subject = found.finding.subject
    allowed = (
        who.sight.may(Action.TRIAGE)
        if subject.startswith(HOME)
        else who.sight.may(Action.ACKNOWLEDGE, subject, DataType.ALERTS)
    )
    further = care_of(found.finding).next_role(found.escalation) is not None
    steps = _STEPS.get(found.state, ()) if allowed and OUTCOMES.get(found.finding.queue) else ()
    return [move for move in steps if further or move is not Move.ESCALATE]
