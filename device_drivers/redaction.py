"""Redaction: a recorded session without what tells whose device it was. What drivers need stays.

Three passes: values that are personal wherever they stand (by characteristic), what is known to be secret
wherever it turns up (by content: address, serial number, codes, keys), and the advertised name. Everything is
replaced by as many neutral bytes, so that layouts hold. What was replaced is said.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from device_drivers.capture import Exchange, Kind, Session

SERIAL_NUMBER: Final = "2A25"
USER_CONTROL_POINT: Final = "2A9F"
MODEL: Final = "2A24"
DEVICE_NAME: Final = "2A00"

PERSONAL: Final[Mapping[str, str]] = {
    SERIAL_NUMBER: "serial number",
    "2A23": "System ID (it holds the address)",
    "2A03": "reconnection address",
    "2BFF": "unique device identifier (it holds the serial number)",
    "2A80": "age",
    "2A85": "date of birth",
    "2A87": "e-mail address",
    "2A8A": "first name",
    "2A8C": "gender",
    "2A8E": "height",
    "2A90": "last name",
}
"""Characteristics whose whole value is replaced (Device Information, GAP and User Data Services)."""

_REGISTER, _CONSENT = 0x01, 0x02  # User Control Point: the op codes that carry a person's code
_LEAST: Final = 4
"""Shorter secrets are not looked for by content: they would be found where they are not meant."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is known of the device and its people, and must not be in a recording."""

    address: str | None = None
    serials: tuple[str, ...] = ()
    passkey: int | None = None
    others: tuple[str, ...] = ()


def redacted(
    session: Session, secrets: Secrets, keep: Collection[str] = ()
) -> tuple[Session, tuple[str, ...]]:
    """Return the session without them, and in words what was replaced.

    `keep` are texts that are public although they are in the device's name: what a profile matches by.
    """
    said: dict[str, None] = {}
    needles = _needles(session, secrets)
    kept = (*keep, *_texts(session, MODEL))
    exchange = tuple(_clean(one, needles, kept, said) for one in session.exchange)
    changes: dict[str, object] = {"exchange": exchange, "address": None, "bind_key": None}
    changes["consents"] = dict.fromkeys(session.consents, 0)
    for present, name in (
        (session.address, "address"),
        (session.bind_key, "bind key (what it encrypts cannot be read from this recording)"),
        (session.consents, "consent codes"),
    ):
        if present:
            said[name] = None
    return session.model_copy(update=changes), tuple(said)


def _texts(session: Session, characteristic: str) -> tuple[str, ...]:
    """Return what a text characteristic was read as."""
    found = (e.data for e in session.exchange if e.on == characteristic and e.kind is Kind.READ)
    return tuple(text for data in found if (text := data.decode("utf-8", "ignore").strip("\0 ")))


def _needles(session: Session, secrets: Secrets) -> dict[bytes, str]:
    """Return the bytes to look for, longest first, and what they are."""
    found: dict[bytes, str] = {}
    for address in {a for a in (secrets.address, session.address) if a}:
        found |= dict.fromkeys(_address_forms(address), "address")
    serials = {*_texts(session, SERIAL_NUMBER), *secrets.serials}
    found |= dict.fromkeys((s.encode() for s in serials), "serial number")
    found |= dict.fromkeys((text.encode() for text in secrets.others), "what was named to be left out")
    if secrets.passkey is not None:
        found[f"{secrets.passkey:06d}".encode()] = "passkey"
    if session.bind_key:
        key = bytes.fromhex(session.bind_key)
        found |= dict.fromkeys((key, key[::-1]), "bind key")
    usable = {n: what for n, what in found.items() if len(n) >= _LEAST and any(n)}
    return dict(sorted(usable.items(), key=lambda pair: -len(pair[0])))


def _address_forms(address: str) -> Iterator[bytes]:
    """Yield the forms in which devices write their address: bytes and text, either order, or its tail."""
    raw = bytes.fromhex(address.replace(":", ""))
    tail = raw[-_LEAST:]
    for part in (raw, tail):
        for ordered in (part, part[::-1]):
            if len(set(ordered)) > _LEAST // 2:  # 00:00:00:01 is in many packets that mean something else
                yield ordered
            for text in (ordered.hex(), ordered.hex(":"), ordered.hex("-")):
                yield text.encode()
                yield text.upper().encode()


def _clean(
    one: Exchange, needles: Mapping[bytes, str], keep: Iterable[str], said: dict[str, None]
) -> Exchange:
    """Return one event without secrets; `said` takes what was replaced."""
    if one.kind is Kind.ADVERT:
        return one.model_copy(
            update={
                "on": None if one.on is None else _name(one.on, needles, keep, said),
                "service_data": {k: _bytes(v, needles, said) for k, v in one.service_data.items()},
                "manufacturer_data": {k: _bytes(v, needles, said) for k, v in one.manufacturer_data.items()},
            }
        )
    if one.hex is None or not one.data:
        return one
    if one.on is not None and one.on in PERSONAL:
        said[PERSONAL[one.on]] = None
        return one.model_copy(update={"hex": neutral(one.data).hex()})
    if one.on == DEVICE_NAME:
        name = _name(one.data.decode("utf-8", "replace"), needles, keep, said)
        return one.model_copy(update={"hex": name.encode().hex()})
    return one.model_copy(update={"hex": _bytes(_without_code(one, said), needles, said)})


def _without_code(one: Exchange, said: dict[str, None]) -> str:
    """Return the bytes in hex; a write to the User Control Point without its code."""
    data = bytearray(one.data)
    at = {_REGISTER: 1, _CONSENT: 2}.get(data[0])
    if one.kind is Kind.WRITE and one.on == USER_CONTROL_POINT and at is not None:
        data[at : at + 2] = bytes(len(data[at : at + 2]))
        said["consent codes"] = None
    return data.hex()


def _bytes(text: str, needles: Mapping[bytes, str], said: dict[str, None]) -> str:
    data = bytes.fromhex(text)
    for needle, what in needles.items():
        if needle in data:
            data = data.replace(needle, neutral(needle))
            said[what] = None
    return data.hex()


_DIGITS: Final = re.compile(r"(?=[0-9A-Fa-f]*[0-9])[0-9A-Fa-f]{4,}")


def _name(name: str, needles: Mapping[bytes, str], keep: Iterable[str], said: dict[str, None]) -> str:
    """Return a name without secrets, and without runs of digits that nobody has vouched for."""
    clean = name
    for needle in needles:
        clean = clean.replace(
            needle.decode("ascii", "ignore") or "\0", neutral(needle).decode("ascii", "ignore")
        )
    public = max((len(text) for text in keep if clean.startswith(text)), default=0)
    clean = clean[:public] + _DIGITS.sub(lambda run: "0" * len(run[0]), clean[public:])
    if clean != name:
        said["digits of the name"] = None
    return clean


def neutral(data: bytes) -> bytes:
    """Return as many bytes that say nothing: text stays text of its kind, anything else becomes zeros."""
    if not data.decode("ascii", "replace").rstrip("\0").isprintable():
        return bytes(len(data))
    return bytes(_NEUTRAL.get(chr(byte), byte) for byte in data)


_NEUTRAL: Final = {
    **dict.fromkeys("0123456789", ord("0")),
    **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", ord("A")),
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", ord("a")),
}
