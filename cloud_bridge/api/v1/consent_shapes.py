"""Consents as programs see them, with the hash of each text that was agreed to."""

import datetime as dt
from typing import Self

from pydantic import Field

from cloud_bridge.access.consent import Consent
from cloud_bridge.access.model import DataType
from cloud_bridge.api.v1.shapes import AlertId, Moment, Shape


class TextShown(Shape):
    """One text that was agreed to: its language (empty: not said) and the SHA-256 of its bytes in hex."""

    language: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class ConsentShown(Shape):
    """One consent. `to` is a role, or organization: and a name; `holds` says whether it does now."""

    consent_id: AlertId
    to: str
    data: DataType
    text_version: str
    valid_from: Moment
    valid_until: Moment | None
    given_by: str
    given_at: Moment
    withdrawn_by: str | None
    withdrawn_at: Moment | None
    holds: bool
    texts: list[TextShown] = Field(description="What was agreed to. Empty: the text was not kept.")

    @classmethod
    def of(cls, one: Consent, now: dt.datetime) -> Self:
        """Return a consent as it is shown."""
        names = [name for name in cls.model_fields if name not in {"holds", "texts"}]
        texts = [TextShown(language=text.language, sha256=text.digest) for text in one.texts]
        return cls(holds=one.holds(now), texts=texts, **{name: getattr(one, name) for name in names})


class ConsentList(Shape):
    """Every consent that a patient ever gave, oldest first."""

    items: list[ConsentShown]
