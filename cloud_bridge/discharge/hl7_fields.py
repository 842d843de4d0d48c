"""Fields of an HL7 v2 message by segment and number, with the moments and numbers that they hold. Pure.

Parsing is `hl7`'s. A component that is not there is empty: HL7 v2 makes no difference.
"""

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, Final

import hl7

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.connectors.hl7_segments import unescaped
from cloud_bridge.discharge.plan import Fault
from cloud_bridge.discharge.terms import Terms

REQUIRED: Final = "101"
DATA_TYPE: Final = "102"
NOT_IN_TABLE: Final = "103"
MESSAGE_TYPE: Final = "200"
EVENT: Final = "201"
PROCESSING: Final = "202"
VERSION: Final = "203"
UNKNOWN_KEY: Final = "204"
DUPLICATE_KEY: Final = "205"
INTERNAL: Final = "207"
SEQUENCE: Final = "100"
"""HL7 table 0357."""

MOST_PARTS: Final = 10_000
"""Segments, fields, components and repetitions of what is read: `hl7` needs about 50 µs for each."""

_STANDARD: Final = b"MSH|^~\\&|"
_READ: Final = frozenset({"MSH", "PID", "PD1", "PV1", "ROL", "DG1"})
"""Of every other segment only its name is parsed: a whole report may stand in one, and nobody asks for it."""
_MOMENT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})?(?:\.\d{1,4})?([+-]\d{4})?")
_CHARSETS: Final = {
    "": "utf-8",
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "8859/1": "latin-1",
    "GB 18030-2000": "gb18030",
}
"""HL7 table 0211. Without a word ASCII is meant, of which UTF-8 is more."""


@dataclass(frozen=True, slots=True)
class Hl7Fault(Fault):
    """See `Fault`. `code` is of HL7 table 0357."""

    code: str = INTERNAL


@dataclass(frozen=True, slots=True)
class Fields:
    """A parsed message."""

    message: Any

    def of(self, name: str) -> list["Segment"]:
        """Return every segment of a name, in order."""
        return [Segment(one) for one in self.message if str(one[0]) == name]

    def text(self, name: str, field: int, component: int = 1) -> str:
        """Return a component of the first segment of a name."""
        found = self.of(name)
        return found[0].text(field, component) if found else ""


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a message."""

    fields: Any

    def repetitions(self, field: int) -> int:
        """Return how often a field is given."""
        return len(self.fields[field]) if field < len(self.fields) else 0

    def text(self, field: int, component: int = 1, sub: int = 1, repetition: int = 0) -> str:
        """Return a component, unescaped; empty if it is not there, or is HL7's null."""
        try:
            one = self.fields[field][repetition]
            part = one[component - 1] if isinstance(one, hl7.Repetition) else one if component == 1 else ""
            inner = part[sub - 1] if isinstance(part, hl7.Component) else part if sub == 1 else ""
        except IndexError:
            return ""
        said = unescaped(str(inner)).strip()
        return "" if said == '""' else said


def parse(data: bytes) -> Fields | Hl7Fault:
    """Return a message's fields, or why it cannot be read. The time that this takes is bounded."""
    header = header_fields(data)
    if isinstance(header, Hl7Fault):
        return header
    charset = _CHARSETS.get(header.text("MSH", 18).upper())
    if charset is None:
        return Hl7Fault("MSH-18", "write UNICODE UTF-8", NOT_IN_TABLE)
    try:
        text = data.decode(charset).replace("\r\n", "\r").replace("\n", "\r")
    except UnicodeDecodeError:
        return Hl7Fault("MSH-18", "the bytes are not of this character set: correct one of them", DATA_TYPE)
    return _parsed(_read(text))


def header_fields(data: bytes) -> Fields | Hl7Fault:
    """Return the first segment of a message, whatever follows; its texts as if they were ISO 8859-1."""
    head = data.split(b"\r", 1)[0]
    if len(head) < len(_STANDARD) or not head.startswith(b"MSH"):
        return Hl7Fault("MSH", "this is no HL7 v2 message: it begins with MSH", SEQUENCE)
    if not head.startswith(_STANDARD):
        return Hl7Fault("MSH-2", "write the delimiters of the standard: |^~\\&", NOT_IN_TABLE)
    return _parsed(head.decode("latin-1"))


def _read(text: str) -> str:
    lines = text.rstrip("\r").split("\r")
    names = dict.fromkeys(line[:3] for line in lines if line[:3] not in _READ)
    return "\r".join([*(line for line in lines if line[:3] in _READ), *filter(None, names)])


def _parsed(text: str) -> Fields | Hl7Fault:
    if sum(map(text.count, "\r|^~&")) > MOST_PARTS:
        what = f"there are more than {MOST_PARTS} fields and components: send a discharge, and nothing else"
        return Hl7Fault("MSH", what, DATA_TYPE)
    try:
        return Fields(hl7.parse(text + "\r"))
    except (hl7.HL7Exception, LookupError, ValueError):
        return Hl7Fault("MSH", "the message cannot be parsed: correct its delimiters", DATA_TYPE)


def moment(text: str, zone: dt.tzinfo) -> dt.datetime | None:
    """Return a DTM to the minute or better, in UTC; without a zone of its own it is of `zone`."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    offset = found[7]
    try:
        made = dt.datetime(year, month, day, hour, minute, second, tzinfo=_zone(offset) if offset else zone)
        return made.astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None


def offset_of(text: str, zone: dt.tzinfo) -> dt.tzinfo:
    """Return the zone that a DTM names; else the one that is meant without."""
    found = _MOMENT.fullmatch(text)
    return _zone(found[7]) if found is not None and found[7] else zone


def _zone(offset: str) -> dt.tzinfo:
    sign = -1 if offset[0] == "-" else 1
    return dt.timezone(sign * dt.timedelta(hours=int(offset[1:3]), minutes=int(offset[3:])))


def numbered(
    one: Segment, field: int, authority: int, terms: Terms, repetition: int = 0
) -> Identifier | None:
    """Return an identifier (CX, XCN, XON): its number, and its authority as the site knows it; else None."""
    value = one.text(field, 1, repetition=repetition)
    named = [one.text(field, authority, sub, repetition) for sub in (1, 2)]
    systems = [
        terms.authorities[name] for name in named if name in terms.authorities and (name or not any(named))
    ]
    known = {terms.patient_system, terms.staff_system, terms.stay_system} - {None}
    systems += [name for name in named if name in known]
    return Identifier(systems[0], value) if value and systems else None
