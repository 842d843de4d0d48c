"""Acknowledgements of HL7 v2 messages: AA, AE or AR, with each fault and remark as an ERR segment. Pure."""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Final

from cloud_bridge.connectors.hl7_segments import DELIMITERS, composed, escaped, segment, timestamp
from cloud_bridge.discharge.hl7_fields import INTERNAL, Fields, Hl7Fault
from cloud_bridge.discharge.plan import Fault
from wire_format.identity import derived_id

ACCEPT: Final = "AA"
ERROR: Final = "AE"
REJECT: Final = "AR"

_NAMES: Final = {
    "0": "Message accepted",
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "207": "Application internal error",
}
"""HL7 table 0357."""
_PLACE: Final = re.compile(r"([A-Z][A-Z0-9]{2})(?:-(\d{1,2}))?")


def acknowledgement(
    code: str,
    fields: Fields | None,
    now: dt.datetime,
    *,
    faults: Sequence[Fault] = (),
    remarks: Iterable[str] = (),
) -> bytes:
    """Return the answer to a message; `fields` None: it could not be read, so nothing of it is named."""
    control_id = "" if fields is None else fields.text("MSH", 10)
    event = "" if fields is None else fields.text("MSH", 9, 2)
    sender = ["", ""] if fields is None else [fields.text("MSH", n) for n in (3, 4)]
    own = derived_id("hl7-answer", control_id, code, now).hex[:20]
    head = {
        2: DELIMITERS,
        3: "KITELINE",
        5: escaped(sender[0]),
        6: escaped(sender[1]),
        7: timestamp(now),
        9: composed("ACK", event, "ACK") if event else "ACK",
        10: own,
        11: "P" if fields is None else escaped(fields.text("MSH", 11)) or "P",
        12: "2.6",
        18: "UNICODE UTF-8",
    }
    said = [segment("MSH", head), segment("MSA", {1: code, 2: escaped(control_id)})]
    said += [_fault(one) for one in faults]
    said += [_error("", "0", "W", one) for one in remarks]
    return "".join(said).encode()


def _fault(fault: Fault) -> str:
    code = fault.code if isinstance(fault, Hl7Fault) else INTERNAL
    found = _PLACE.fullmatch(fault.where)
    place = "" if found is None else composed(found[1], "1", found[2] or "")
    return _error(place, code, "E", str(fault))


def _error(place: str, code: str, severity: str, words: str) -> str:
    return segment(
        "ERR", {2: place, 3: composed(code, _NAMES[code], "HL70357"), 4: severity, 8: escaped(words)}
    )
