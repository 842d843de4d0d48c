"""HL7 v2 segments as text: fields by number, components by caret, everything escaped. Pure.

HL7 v2.6 chapter 2: a bar between fields, a caret between components, an ampersand between subcomponents, a
tilde between repetitions, a backslash to escape; CR ends a segment.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Final

_ESCAPES: Final = {
    "\\": "\\E\\",
    "|": "\\F\\",
    "^": "\\S\\",
    "&": "\\T\\",
    "~": "\\R\\",
    "\r": "\\X0D\\",
    "\n": "\\X0A\\",
}
_TABLE: Final = str.maketrans(_ESCAPES)
_CHARACTERS: Final = {sequence: character for character, sequence in _ESCAPES.items()}
_ESCAPED: Final = re.compile(r"\\(?:X((?:[0-9A-Fa-f]{2})+)|[A-Z][^\\]*)\\")
DELIMITERS: Final = "^~\\&"


def escaped(text: str) -> str:
    """Return text as the content of a field."""
    return text.translate(_TABLE)


def unescaped(text: str) -> str:
    """Return a field's content as text; a sequence that is not known (a font, a colour) stays as it is."""
    return _ESCAPED.sub(_character, text)


def _character(found: re.Match[str]) -> str:
    known = _CHARACTERS.get(found[0])
    if known is not None or found[1] is None:
        return found[0] if known is None else known
    return bytes.fromhex(found[1]).decode("latin-1")


def composed(*components: str) -> str:
    """Return a field of components, each escaped; empty ones at the end are left out."""
    return "^".join(map(escaped, components)).rstrip("^")


def segment(name: str, fields: Mapping[int, str]) -> str:
    """Return a segment of fields by their numbers in the standard, already escaped, ended by CR.

    In MSH the separator itself is field 1, so that field 2 follows the name.
    """
    first = 2 if name == "MSH" else 1
    last = max(fields)
    return "|".join([name, *(fields.get(n, "") for n in range(first, last + 1))]) + "\r"


def timestamp(moment: dt.datetime) -> str:
    """Return a DTM in UTC with milliseconds and zone."""
    utc = moment.astimezone(dt.UTC)
    return f"{utc:%Y%m%d%H%M%S}.{utc.microsecond // 1000:03d}+0000"
