"""Patients: whom one may see, their readings, and for themselves what they agreed to and who read what."""

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import FastAPI, Path, Query, Request, Response

from cloud_bridge.access.consent import DATA_OF
from cloud_bridge.access.model import Action, DataType
from cloud_bridge.api.v1.answers import answer
from cloud_bridge.api.v1.asked import (
    PatientName,
    PatientQuery,
    ReaderQuery,
    ReadingQuery,
    after_reading,
    reading_place,
)
from cloud_bridge.api.v1.consent_shapes import ConsentList, ConsentShown
from cloud_bridge.api.v1.door import Caller, Reads
from cloud_bridge.api.v1.problem import ApiError, Kind
from cloud_bridge.api.v1.shapes import (
    EntryPage,
    EntryShown,
    PatientPage,
    PatientShown,
    ReadingPage,
    ReadingShown,
)
from cloud_bridge.store.listings import ReadingsAsked

PatientPath = Annotated[PatientName, Path(description="As the enrolment names them.")]
SEEN: Final = (Action.READ, Action.BREAK_GLASS, Action.ACKNOWLEDGE)


def register(api: FastAPI, add: Callable[..., None]) -> None:
    """Add the routes."""
    add(api, "GET", "/patients", patients, PatientPage, "List patients")
    add(api, "GET", "/patients/{patient}", patient_of, PatientShown, "Read one patient")
    add(api, "GET", "/patients/{patient}/readings", readings, ReadingPage, "List readings")
    add(api, "GET", "/patients/{patient}/consents", consents, ConsentList, "List consents")
    add(api, "GET", "/patients/{patient}/readers", readers, EntryPage, "List who read what")


AT_ONCE: Final = 500
"""Of so many patients it is looked up at once what may be seen."""


def patients(who: Reads, request: Request, asked: Annotated[PatientQuery, Query()]) -> Response:
    """List the patients of whom you may read something."""
    found: list[PatientShown] = []
    names = who.desk.listings.patients(asked.cursor)
    for begins in range(0, len(names), AT_ONCE):
        some = names[begins : begins + AT_ONCE]
        who.sight.among(Action.READ, some, DataType.ALERTS)  # looked up at once
        for name in some:
            if len(found) > asked.limit:
                break
            shown = _patient(who, name)
            if shown is not None:
                found.append(shown)
    items = found[: asked.limit]
    for one in items:
        who.sight.sees(Action.READ, one.patient, one.may_read[0])
    more = items[-1].patient if len(found) > asked.limit else None
    return answer(request, PatientPage(items=items, next=more), more=more)


def patient_of(who: Reads, request: Request, patient: PatientPath) -> Response:
    """Read one patient: who they are to the hospital, and what you may read of them."""
    shown = _patient(who, patient)
    asked = DataType.ALERTS if shown is None else shown.may_read[0]
    who.must(who.sight.does(Action.READ, patient, asked))
    return answer(request, _there(shown))


def _there(shown: PatientShown | None) -> PatientShown:
    if shown is None:
        raise ApiError(Kind.NOT_ALLOWED)
    return shown


def _patient(who: Caller, name: str) -> PatientShown | None:
    """Return a patient, None if there is nothing that may be read; nothing is on record of it yet."""
    kinds = [kind for kind in DataType if who.sight.may(Action.READ, name, kind)]
    known = who.desk.alerts.known_as(name) if kinds else None
    if known is None:
        return None
    return PatientShown(patient=name, system=known.system, number=known.value, may_read=kinds)


def readings(
    who: Reads, request: Request, patient: PatientPath, asked: Annotated[ReadingQuery, Query()]
) -> Response:
    """List readings, the latest measured first. Quantities that you name must all be consented to you."""
    sight = who.sight
    kinds = dict.fromkeys(DATA_OF.get(q) for q in asked.quantity) or dict.fromkeys(DATA_OF.values())
    may = {kind for kind in kinds if kind is not None and sight.may(Action.READ, patient, kind)}
    wanted = [kind for kind in kinds if kind is not None]
    if not may or (asked.quantity and may != set(kinds)):
        sight.does(Action.READ, patient, next((kind for kind in wanted if kind not in may), None))
        raise ApiError(Kind.NOT_ALLOWED)
    quantities = frozenset(q for q in asked.quantity or DATA_OF if DATA_OF.get(q) in may)
    query = ReadingsAsked(patient, quantities, asked.since, asked.until)
    found = who.desk.listings.readings(query, after_reading(asked.cursor), asked.limit + 1)
    page = found[: asked.limit]
    for kind in dict.fromkeys(DATA_OF[one.measurement.quantity] for one in page):
        sight.sees(Action.READ, patient, kind)
    last = page[-1] if len(found) > asked.limit else None
    at = last.measured.utc if last is not None and last.measured is not None else None
    more = None if last is None else reading_place(at, last.id)
    items = [ReadingShown.of(one) for one in page]
    withheld = [kind for kind in wanted if kind not in may]
    return answer(request, ReadingPage(items=items, withheld=withheld, next=more), more=more)


def consents(who: Reads, request: Request, patient: PatientPath) -> Response:
    """List what a patient agreed to; for the patient, and whom they chose."""
    who.must(who.sight.does(Action.SEE_READERS, patient, DataType.ALERTS))
    now = who.desk.room.page.clock()
    items = [ConsentShown.of(one, now) for one in who.desk.accounts.consents(patient)]
    return answer(request, ConsentList(items=items))


def readers(
    who: Reads, request: Request, patient: PatientPath, asked: Annotated[ReaderQuery, Query()]
) -> Response:
    """List who read what of a patient, the newest first; for the patient, and whom they chose."""
    who.must(who.sight.does(Action.SEE_READERS, patient, DataType.ALERTS))
    before = None if asked.cursor is None else int(asked.cursor)
    found = who.desk.accounts.newest(asked.limit + 1, patient, SEEN, yes_only=True, before=before)
    items = [EntryShown.of(one) for one in found[: asked.limit]]
    more = str(items[-1].number) if len(found) > asked.limit else None
    return answer(request, EntryPage(items=items, next=more), more=more)
