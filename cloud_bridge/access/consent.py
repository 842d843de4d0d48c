"""Consent: a patient lets a role or an organization read one kind of data, for a time. Pure.

Giving is one act, withdrawing is one act. The version of the text that was agreed to is kept, and the text.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cloud_bridge.access.model import DataType, Role
from cloud_bridge.access.texts import Text, Wording, digest_of
from wire_format.errors import Rejected
from wire_format.nomenclature import Quantity

ORGANIZATION = "organization:"

DATA_OF: Final[Mapping[Quantity, DataType]] = {
    Quantity.BLOOD_PRESSURE: DataType.BLOOD_PRESSURE,
    Quantity.GLUCOSE: DataType.GLUCOSE,
    Quantity.CONTINUOUS_GLUCOSE: DataType.GLUCOSE,
    Quantity.BODY_WEIGHT: DataType.BODY,
    Quantity.BODY_COMPOSITION: DataType.BODY,
    Quantity.BODY_TEMPERATURE: DataType.TEMPERATURE,
    Quantity.PULSE_OXIMETRY: DataType.OXIMETRY,
    # On its own as well: a cuff's reading, which this consent covers, has always carried it.
    Quantity.PULSE_RATE: DataType.BLOOD_PRESSURE,
}
"""The kind of data that each quantity belongs to: no reading is without a consent that can speak of it."""


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent. `to` is a role's name, or "organization:" and a name. Times are UTC, `until` excluded.

    `texts`: what was agreed to, in each language; none if the text was not kept.
    """

    consent_id: UUID
    patient: str
    to: str
    data: DataType
    text_version: str
    valid_from: dt.datetime
    valid_until: dt.datetime | None
    given_by: str
    given_at: dt.datetime
    withdrawn_by: str | None = None
    withdrawn_at: dt.datetime | None = None
    texts: tuple[Wording, ...] = ()

    def holds(self, now: dt.datetime) -> bool:
        """Tell whether it holds at a moment."""
        begun = self.valid_from <= now
        over = self.valid_until is not None and now >= self.valid_until
        withdrawn = self.withdrawn_at is not None and now >= self.withdrawn_at
        return begun and not over and not withdrawn


def covers(consents: Iterable[Consent], to: str, data: DataType | None, now: dt.datetime) -> bool:
    """Tell whether one of a patient's consents lets `to` have a kind of data at a moment.

    A withdrawal counts as soon as it is written down, whatever the clock of who wrote it said.
    """
    return any(
        one.to == to and one.data is data and one.withdrawn_at is None and one.holds(now) for one in consents
    )


READERS: Final = (Role.NURSE, Role.PHYSICIAN, Role.FAMILY_DOCTOR, Role.PHARMACIST, Role.DELEGATE)
"""To whom people are asked to consent, beside organizations: these read by consent (policies.cedar)."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody is asked to agree to: a version in every language, and to whom it can be given."""

    version: str
    texts: tuple[Text, ...]
    recipients: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Return what changes with any word of it, in any language."""
        return digest_of("".join(text.wording.digest for text in self.texts).encode())


def parse_recipient(text: str) -> str:
    """Return to whom a consent is given; raises `Rejected` with what can be written."""
    name = text.removeprefix(ORGANIZATION)
    if text.startswith(ORGANIZATION) and name.strip() == name != "":
        return text
    if text in {role.value for role in Role}:
        return text
    roles = ", ".join(role.value for role in Role)
    raise Rejected(f"{text!r} is nobody to consent to: write organization:NAME or one of {roles}.")


def consented(consents: Iterable[Consent], now: dt.datetime) -> frozenset[str]:
    """Return what holds at a moment, as policies read it: "to:data"."""
    return frozenset(f"{one.to}:{one.data.value}" for one in consents if one.holds(now))
