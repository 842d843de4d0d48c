"""A FHIR R4 Bundle as a plan is read from it: validated, resources by name, references resolved. Pure.

Structure is `fhir.resources`' to check (R4B, which has these resources as R4 has them); what the elements
mean is checked by who reads them. No message quotes a value of a patient.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from pydantic import ValidationError

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.plan import Fault, PlanRefusedError

PLAN: Final = ("Patient", "Encounter", "CarePlan", "MedicationRequest", "ServiceRequest", "Goal")
BESIDE: Final = ("Practitioner", "PractitionerRole", "Organization", "Medication")
"""What is read only where one of the others refers to it."""

Element = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource and its name in messages: "Goal/g1"; without an id by its place, "Goal (entry 3)"."""

    name: str
    url: str | None
    body: Element


@dataclass(slots=True)
class Document:
    """A bundle that is being read; faults and remarks are gathered: people see all of them at once."""

    timestamp: dt.datetime
    entries: tuple[Entry, ...]
    faults: list[Fault] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[Entry]:
        """Return the resources of a kind."""
        return [one for one in self.entries if one.body["resourceType"] == kind]

    def only(self, kind: str) -> Entry | None:
        """Return the one resource of a kind; a fault if there is none or more."""
        found = self.of(kind)
        if len(found) == 1:
            return found[0]
        what = f"there are {len(found)} of them: a plan has exactly one" if found else "it is missing: add it"
        self.fault(kind, what)
        return None

    def fault(self, where: str, what: str) -> None:
        """Note what is not understood."""
        self.faults.append(Fault(where, what))

    def remark(self, where: str, what: str) -> None:
        """Note what people should see, and what nothing depends on."""
        self.remarks.append(f"{where}: {what}")

    def moment(self, where: str, text: object) -> dt.datetime | None:
        """Return a date and time with its zone, in UTC; a fault otherwise."""
        try:
            moment = dt.datetime.fromisoformat(str(text))
            if moment.tzinfo is not None:
                return moment.astimezone(dt.UTC)
        except (ValueError, OverflowError):
            pass
        self.fault(where, "write a date and a time with its zone, as 2026-11-20T10:30:00+08:00")
        return None

    def find(self, reference: Element) -> Entry | None:
        """Return what a reference names within the bundle; None if it is not there."""
        address = str(reference.get("reference", ""))
        if not address:
            return None
        for one in self.entries:
            own = f"{one.body['resourceType']}/{one.body.get('id')}"
            if address in {one.url, own} or (one.url or "").endswith(f"/{address}"):
                return one
        return None

    def identifier(
        self, where: str, given: Sequence[Element], preferred: str | None, setting: str
    ) -> Identifier | None:
        """Return the one identifier that counts: of the preferred system, or the only one; else a fault."""
        whole = [
            Identifier(one["system"], one["value"]) for one in given if one.get("system") and one.get("value")
        ]
        ours = [one for one in whole if one.system == preferred] or whole
        if len(ours) == 1:
            return ours[0]
        if ours:
            self.fault(where, f"it has {len(ours)} identifiers: say by {setting} which system counts")
            return None
        self.fault(where, "it has no identifier with system and value: write one")
        return None

    def who(self, where: str, reference: Element, preferred: str | None) -> Identifier | None:
        """Return the identifier of whom a reference names: its own one, or that of the resource."""
        if "identifier" in reference:
            return self.identifier(where, [reference["identifier"]], preferred, "discharge.staff_system")
        found = self.find(reference)
        if found is None:
            self.fault(where, "it is not in the Bundle: put it in, or write its identifier here")
            return None
        given = found.body.get("identifier", ())
        return self.identifier(found.name, given, preferred, "discharge.staff_system")

    def check(self) -> None:
        """Raise `PlanRefusedError` with every fault so far, if there is any."""
        if self.faults:
            raise PlanRefusedError(self.faults)


def read(document: object) -> Document:
    """Return a bundle whose structure is right. Raises `PlanRefusedError`."""
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        raise PlanRefusedError(
            [Fault("Bundle", "this is no FHIR R4 Bundle: put the plan's resources into one")]
        )
    made = Document(dt.datetime.min.replace(tzinfo=dt.UTC), tuple(_entries(document)))
    _check_structure(document, made)
    made.check()
    for one in made.entries:
        if one.body["resourceType"] not in {*PLAN, *BESIDE}:
            made.remark(one.name, "a resource of this kind is not read")
        for path in _modifiers(one.body):
            made.fault(f"{one.name}{path}", "it changes the meaning of the resource: leave it out")
    stated = made.moment("Bundle.timestamp", document.get("timestamp"))
    made.check()
    made.timestamp = stated or made.timestamp
    return made


def _entries(document: Element) -> Iterator[Entry]:
    entries = document.get("entry", [])
    if not isinstance(entries, list):
        raise PlanRefusedError([Fault("Bundle.entry", "it must be a list of entries")])
    for number, one in enumerate(entries, start=1):
        body = one.get("resource") if isinstance(one, dict) else None
        kind = body.get("resourceType") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(kind, str):
            raise PlanRefusedError([Fault(f"Bundle.entry {number}", "it has no resource: leave it out")])
        name = f"{kind}/{body['id']}" if "id" in body else f"{kind} (entry {number})"
        url = one.get("fullUrl")
        yield Entry(name, url if isinstance(url, str) else None, body)


def _check_structure(document: Element, made: Document) -> None:
    _validate("Bundle", {**document, "entry": []}, "Bundle", made)
    for one in made.entries:
        kind = one.body["resourceType"]
        if kind in {*PLAN, *BESIDE}:
            _validate(kind, one.body, one.name, made)


def _validate(kind: str, body: Element, name: str, made: Document) -> None:
    model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
    given = {key: value for key, value in body.items() if key != "entry"}
    try:
        model.model_validate(given)
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False):
            where = ".".join([name, *map(str, one["loc"])])
            made.fault(where, f"FHIR R4 does not allow this ({one['type']}): correct it")


_HARMLESS: Final = frozenset({"contained", "text"})


def _modifiers(body: object, path: str = "") -> Iterator[str]:
    """Yield where a resource says that it must not be read without understanding more."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key in {"modifierExtension", "implicitRules"}:
                yield f"{path}.{key}"
            elif key not in _HARMLESS:
                yield from _modifiers(value, f"{path}.{key}")
    elif isinstance(body, list):
        for number, one in enumerate(body):
            yield from _modifiers(one, f"{path}[{number}]")
