"""Whom the home seals to beside its hospital, as the hospital last said by the people's consents.

A key that cannot be used is left aside: a reading is never lost for somebody else's key. While the time is
not known, and when what was said has ended, readings are sealed to the hospital alone.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from wire_format.canonical import decode
from wire_format.cose import MAX_RECIPIENTS
from wire_format.downlink import Recipients, Share
from wire_format.errors import Misconfigured, Rejected
from wire_format.keys import SealKey
from wire_format.nomenclature import Quantity

KIND: Final = Recipients.__name__


@dataclass(slots=True)
class Sharing:
    """The newest word of the hospital. `sequence` is that of its message: an older one changes nothing."""

    hospital: SealKey
    utc: Callable[[], dt.datetime | None]
    sequence: int = 0
    _said: Recipients | None = None

    def recall(self, heard: Sequence[tuple[int, str, bytes]]) -> None:
        """Take up what was kept (sequence, kind, body), after a start; nothing older is taken any more."""
        kept = [(sequence, body) for sequence, kind, body in heard if kind == KIND]
        if kept:
            sequence, body = kept[-1]
            try:
                self.take(sequence, Recipients.model_validate(decode(body)[1]))
            except (Rejected, ValidationError):
                self.sequence = sequence
        elif heard:
            self.sequence = heard[0][0] - 1

    def take(self, sequence: int, message: Recipients) -> bool:
        """Take what the hospital says; False of what is older than what is known."""
        if sequence <= self.sequence:
            return False
        self.sequence, self._said = sequence, message
        return True

    def also(self, person: str | None, quantity: Quantity) -> tuple[SealKey, ...]:
        """Return the keys, beside the hospital's, that a reading of a person is sealed to now."""
        now, said = self.utc(), self._said
        if said is None or now is None or person is None or now >= said.until:
            return ()
        shares = (one for one in said.shares if one.person == person and quantity in one.quantities)
        keys = {one.recipient for one in shares if self._usable(one, now)} - {self.hospital}
        return tuple(sorted(keys, key=lambda key: key.raw)[: MAX_RECIPIENTS - 1])

    def _usable(self, share: Share, now: dt.datetime) -> bool:
        if share.kem is not self.hospital.kem or (share.until is not None and now >= share.until):
            return False
        try:
            return share.recipient.object is not None
        except Misconfigured:
            return False
