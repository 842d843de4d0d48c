"""How soon an item must be seen, and who is asked next if it is not: `[care]` of a programme's file."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from cloud_bridge.rules.parameters import Part


class CareRole(StrEnum):
    """Whom an item asks, or who is copied. The registry names one of the first three for every patient."""

    NURSE = "nurse"
    PHYSICIAN = "physician"
    ORGANIZATION = "organization"  # whoever is in charge of the ward
    FAMILY_DOCTOR = "family_doctor"  # the contracted one; not everybody has one
    PHARMACIST = "pharmacist"  # as above


class Care(Part):
    """Times are counted in service hours. `roles` are asked one after the other; the first one at once.

    `copied` are told of what the nurse works on. Where a patient has nobody of a role, whoever is in charge
    of the ward is asked in their place, and nobody is copied. What a file does not say is as here: files of
    earlier versions said nothing.
    """

    severe_minutes: int = Field(default=15, ge=1, le=24 * 60)
    high_minutes: int = Field(default=240, ge=1, le=24 * 60)
    routine_working_days: int = Field(default=1, ge=1, le=31)
    roles: tuple[CareRole, ...] = Field(default=(CareRole.NURSE, CareRole.PHYSICIAN), min_length=1)
    copied: tuple[CareRole, ...] = (CareRole.PHYSICIAN,)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if len(set(self.roles)) < len(self.roles):
            raise ValueError("a role is asked twice: write each once, in the order in which they are asked")
        if len(set(self.copied)) < len(self.copied):
            raise ValueError("a role is copied twice: write each once")
        return self

    def role(self, escalation: int) -> CareRole:
        """Return who is asked after so many escalations; the last role stays the last."""
        return self.roles[min(escalation, len(self.roles) - 1)]

    def next_role(self, escalation: int) -> CareRole | None:
        """Return who is asked next; None if there is nobody further."""
        return self.roles[escalation + 1] if escalation + 1 < len(self.roles) else None
