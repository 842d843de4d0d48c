"""What a programme's file may say: limits as pairs of units, windows of the day, and what every rule has.

A threshold is a pair: a value is compared in the unit that its device reported. The two numbers of a pair
must mean the same, as far as devices can show it.
"""

import datetime as dt
from decimal import Decimal
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cloud_bridge.rules.base import Queue, Severity
from wire_format.nomenclature import Unit
from wire_format.units import convert


class Part(BaseModel):
    """A table of a programme's file. A key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(Part):
    """One threshold in each unit that a device may report. Subclasses name the fields after the units."""

    UNITS: ClassVar[dict[Unit, str]]
    AGREE_WITHIN: ClassVar[Decimal]
    """How far the second number may lie from the first one converted: half a step of what devices show."""

    def in_unit(self, unit: Unit) -> Decimal:
        """Return the threshold in the unit that the device reported; `KeyError` for one of another kind."""
        value: Decimal = getattr(self, self.UNITS[unit])
        return value

    @model_validator(mode="after")
    def _pair(self) -> Self:
        first, second = self.UNITS
        expected = convert(self.in_unit(first), first, second)
        if abs(expected - self.in_unit(second)) > self.AGREE_WITHIN:
            shown = expected.quantize(self.AGREE_WITHIN)
            raise ValueError(
                f"the two numbers of a limit must mean the same: "
                f"{self.in_unit(first)} {first.value} is {shown} {second.value}"
            )
        return self


class PressureLimit(Limit):
    """A blood pressure, in mmHg and kPa."""

    UNITS: ClassVar[dict[Unit, str]] = {Unit.MMHG: "mmhg", Unit.KPA: "kpa"}
    AGREE_WITHIN: ClassVar[Decimal] = Decimal("0.06")

    mmhg: Decimal = Field(gt=0)
    kpa: Decimal = Field(gt=0)


class GlucoseLimit(Limit):
    """A glucose concentration, in mmol/L and mg/dL."""

    UNITS: ClassVar[dict[Unit, str]] = {Unit.MMOL_PER_L: "mmol_l", Unit.MG_PER_DL: "mg_dl"}
    AGREE_WITHIN: ClassVar[Decimal] = Decimal("1.0")

    mmol_l: Decimal = Field(gt=0)
    mg_dl: Decimal = Field(gt=0)


class MassLimit(Limit):
    """A weight, or a difference of weights, in kg and avoirdupois pounds."""

    UNITS: ClassVar[dict[Unit, str]] = {Unit.KG: "kg", Unit.POUND: "lb"}
    AGREE_WITHIN: ClassVar[Decimal] = Decimal("0.06")

    kg: Decimal = Field(gt=0)
    lb: Decimal = Field(gt=0)


class DayWindow(Part):
    """A part of the day in the patient's own zone, both ends included."""

    begins: dt.time
    ends: dt.time

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if not self.begins < self.ends:
            raise ValueError("a window of the day begins before it ends, on the same day")
        return self

    def holds(self, at: dt.datetime) -> bool:
        """Whether a local moment lies in it."""
        return self.begins <= at.time().replace(second=0, microsecond=0) <= self.ends


class Parameters(Part):
    """What every rule has. `source` cites where the rule comes from."""

    source: str = Field(min_length=1)
    enabled: bool = True
    severity: Severity
    queue: Queue = Queue.CLINICAL

    def adjusted(self, own: dict[str, Any]) -> Self:
        """Return the parameters with a patient's own values; raises `ValidationError`."""
        given = self.model_dump(mode="json", exclude_defaults=True)
        return type(self).model_validate({**given, **own})


SESSION_GAP_MINUTES: Final = 10


class SessionParameters(Parameters):
    """Parameters of a rule over sessions. A session is readings at most `session_gap_minutes` apart."""

    session_gap_minutes: int = Field(default=SESSION_GAP_MINUTES, ge=1)

    @property
    def gap(self) -> dt.timedelta:
        """The longest pause within a session."""
        return dt.timedelta(minutes=self.session_gap_minutes)
