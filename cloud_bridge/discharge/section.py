"""`[discharge]` of the configuration: whose plans are taken, and what the site's codes and times mean."""

import datetime as dt
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator

from cloud_bridge.connectors.base import Identifier
from cloud_bridge.discharge.terms import USUAL_TIMES, Defaults, Terms
from cloud_bridge.rules.programme import PROGRAMMES
from service_kit.toml_config import Section


class NumberSection(Section):
    """A business identifier as the hospital's FHIR server has it."""

    system: str = Field(min_length=1)
    value: str = Field(min_length=1)

    def identifier(self) -> Identifier:
        """Return it as the registry takes it."""
        return Identifier(self.system, self.value)


class ProgrammeSection(Section):
    """A code of the hospital's own that means one of our programmes."""

    system: str = Field(min_length=1)
    code: str = Field(min_length=1)
    programme: str

    @field_validator("programme")
    @classmethod
    def _installed(cls, value: str) -> str:
        if value not in PROGRAMMES:
            raise ValueError(f"there is no such programme: write one of {', '.join(PROGRAMMES)}")
        return value


class DischargeSection(Section):
    """Without this section no plan is taken.

    `patient_system` is the one of a patient's identifiers that counts here; `staff_system` and `stay_system`
    decide where there are several. `nurse`, `physician` and `organization` are of patients who are new here,
    where the plan does not say it. `times` gives times of day to codes as BID. `authorities` gives the
    systems of HL7 v2 assigning authorities.
    """

    patient_system: str = Field(min_length=1)
    staff_system: str | None = None
    stay_system: str | None = None
    nurse: NumberSection | None = None
    physician: NumberSection | None = None
    organization: NumberSection | None = None
    language: str = "en"
    first_visit_hours: int = Field(default=72, ge=1, le=24 * 60)
    reminders: bool = True
    programme: tuple[ProgrammeSection, ...] = ()
    times: dict[str, tuple[dt.time, ...]] = Field(default_factory=dict)
    authorities: dict[str, str] = Field(default_factory=dict)

    def terms(self, zone: str) -> Terms:
        """Return what plans are understood by."""
        return Terms(
            patient_system=self.patient_system,
            zone=ZoneInfo(zone),
            staff_system=self.staff_system,
            stay_system=self.stay_system,
            programmes={(one.system, one.code): one.programme for one in self.programme},
            times={**USUAL_TIMES, **self.times},
            authorities=self.authorities,
        )

    def defaults(self) -> Defaults:
        """Return what holds where neither the registry nor a plan says it."""
        return Defaults(
            nurse=_who(self.nurse),
            physician=_who(self.physician),
            organization=_who(self.organization),
            language=self.language,
            first_visit=dt.timedelta(hours=self.first_visit_hours),
            reminders=self.reminders,
        )


def _who(number: NumberSection | None) -> Identifier | None:
    return None if number is None else number.identifier()
