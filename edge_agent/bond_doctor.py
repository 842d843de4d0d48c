"""Bond doctor: which side forgot the bond, told from a busy radio by what was seen over several attempts.

    a dead key is replayed:  BlueZ connects and encrypts, the device answers "PIN or Key Missing", BlueZ drops
                             the connection and says `le-connection-abort-by-local`; so it goes for ever
    a busy radio:            the same words, but other devices are dropped too, or the next attempt works

One attempt proves nothing. Pure: attempts go in, a verdict comes out. What is done about it is up to whoever
asks; a bond is never removed here, and no device is paired again without somebody's consent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from device_drivers.link import AttError, LinkLost

REFUSALS: Final = 2
"""So many attempts must end with a refused key: one may be a connection that was lost at a bad moment."""

DROPS: Final = 3
DROPS_SPAN_S: Final = 20.0
"""So many dropped attempts, this far apart: a busy radio has recovered by then."""

REMEMBERED: Final = 32
_KEY_ATT: Final = frozenset({0x05, 0x0F})
"""Insufficient Authentication and Insufficient Encryption (Core Vol 3 Part F 3.4.1.1)."""


class Sign(StrEnum):
    """What one attempt showed of the bond."""

    WORKED = "worked"  # an encrypted connection did its work
    KEY_REFUSED = "key_refused"  # device or BlueZ said that authentication failed
    DROPPED = "dropped"  # a connection came about and was ended before anything could be asked
    BUSY = "busy"  # the radio itself said that it is occupied, or not ready
    SILENT = "silent"  # no connection came about, or it was lost in mid-work: says nothing of keys
    BOND_MISSING = "bond_missing"  # a device that was bonded, and the radio holds no bond with it


class Verdict(StrEnum):
    """What the attempts mean, and so what to do."""

    SOUND = "sound"  # nothing is wrong with the bond
    RETRY = "retry"  # too little was seen
    BUSY_RADIO = "busy_radio"  # not this device's fault: others are dropped too
    DEVICE_FORGOT = "device_forgot"  # or somebody else uses its address: pair again only with consent
    GATEWAY_FORGOT = "gateway_forgot"  # bluetoothd lost its keys: pair again only with consent
    PAIRING_REFUSED = "pairing_refused"  # never bonded, and the device does not want to

    @property
    def is_lost(self) -> bool:
        """Tell whether there is a bond that will never work again."""
        return self in {Verdict.DEVICE_FORGOT, Verdict.GATEWAY_FORGOT}


class LinkFailed(LinkLost):
    """A connection or a pairing that failed; `sign` is what that says of the bond."""

    def __init__(self, message: str, sign: Sign) -> None:
        super().__init__(message)
        self.sign = sign


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at one device, at `at` monotonic seconds; `held` tells whether we held a bond then."""

    sign: Sign
    at: float
    held: bool


def sign_of(error: Exception, *, held: bool) -> Sign:
    """Return what an error of a visit says of the bond."""
    if isinstance(error, LinkFailed):
        return error.sign
    if isinstance(error, AttError) and error.code in _KEY_ATT and held:
        return Sign.KEY_REFUSED
    return Sign.SILENT


def diagnose(own: Sequence[Attempt], others: Iterable[Attempt]) -> Verdict:
    """Judge a device by its attempts, oldest first, and by those at all other devices.

    1. The latest word counts: a connection that worked, a bond that is gone.
    2. Refused keys count since the last attempt that worked, and only `REFUSALS` of them.
    3. Dropped connections count with a bond only, `DROPS` of them over `DROPS_SPAN_S`. If meanwhile more
       attempts at other devices were dropped than worked, the radio is busy.
    """
    recent = _since_it_worked(own)
    if not recent:
        return Verdict.SOUND
    if recent[-1].sign is Sign.BOND_MISSING:
        return Verdict.GATEWAY_FORGOT
    refused = [a for a in recent if a.sign is Sign.KEY_REFUSED]
    if len(refused) >= REFUSALS:
        return Verdict.DEVICE_FORGOT if refused[-1].held else Verdict.PAIRING_REFUSED
    dropped = [a for a in recent if a.sign in {Sign.DROPPED, Sign.KEY_REFUSED} and a.held]
    if len(dropped) < DROPS or dropped[-1].at - dropped[0].at < DROPS_SPAN_S:
        return Verdict.RETRY
    meanwhile = [a.sign for a in others if dropped[0].at <= a.at <= dropped[-1].at]
    busy = meanwhile.count(Sign.DROPPED) + meanwhile.count(Sign.BUSY)
    return Verdict.BUSY_RADIO if busy > meanwhile.count(Sign.WORKED) else Verdict.DEVICE_FORGOT


def _since_it_worked(attempts: Sequence[Attempt]) -> list[Attempt]:
    recent: list[Attempt] = []
    for attempt in attempts:
        recent = [] if attempt.sign is Sign.WORKED else [*recent, attempt]
    return recent


@dataclass(slots=True)
class BondDoctor:
    """Remembers the latest attempts at each device."""

    _attempts: dict[str, list[Attempt]] = field(default_factory=dict)

    def note(self, address: str, attempt: Attempt) -> Verdict:
        """Take an attempt into account, and judge the device."""
        own = self._attempts.setdefault(address, [])
        own.append(attempt)
        del own[:-REMEMBERED]
        others = [a for other, attempts in self._attempts.items() if other != address for a in attempts]
        return diagnose(own, others)

    def forget(self, address: str) -> None:
        """Begin anew with a device: it was paired again, or is ours no more."""
        self._attempts.pop(address, None)
