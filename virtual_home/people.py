"""People with plausible readings from one seed. Pure: the same seed gives the same people and readings.

Spreads are those used for planning home monitoring: within-person reading to reading SD 5 mmHg, session to
session SD 8 mmHg, day to day SD of weight 0.7 kg.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Condition(StrEnum):
    """Why somebody is looked after."""

    CONTROLLED = "controlled"
    HYPERTENSION = "hypertension"
    DIABETES = "diabetes"
    HEART_FAILURE = "heart_failure"


@dataclass(frozen=True)
class _Means:
    systolic: int
    diastolic: int
    pulse: int
    glucose_mg_dl: int
    weight_kg: int


_MEANS: Final = {
    Condition.CONTROLLED: _Means(125, 76, 70, 98, 64),
    Condition.HYPERTENSION: _Means(152, 92, 76, 102, 72),
    Condition.DIABETES: _Means(134, 80, 74, 156, 78),
    Condition.HEART_FAILURE: _Means(122, 72, 82, 108, 70),
}
_SCALES: Final = ("mi_scale", "mi_composition_scale", "xiaomi_s400", "transtek_scale")
_METERS: Final = ("contour", "caresens", "dm30b", "verio_flex")
_SESSION_SD: Final = 8.0
_READING_SD: Final = 5.0
_WEIGHT_SD: Final = 0.7


class Person:
    """One person; each call of a method is the next thing they measure."""

    def __init__(self, seed: int, name: str, condition: Condition = Condition.HYPERTENSION) -> None:
        self._random = random.Random(f"{seed}/{name}")  # noqa: S311 - plausible people, not secrets
        self._means = _MEANS[condition]
        self._session = self._random.gauss(0, _SESSION_SD)

    def blood_pressure(self) -> dict[str, Decimal]:
        """Return systolic and diastolic (mmHg) and pulse (/min)."""
        swing = self._session + self._random.gauss(0, _READING_SD)
        systolic = Decimal(round(self._means.systolic + swing))
        diastolic = Decimal(round(self._means.diastolic + swing / 2))
        pulse = Decimal(round(self._means.pulse + self._random.gauss(0, 4)))
        return {"systolic": systolic, "diastolic": min(diastolic, systolic - 10), "pulse": pulse}

    def glucose(self) -> dict[str, Decimal]:
        """Return capillary glucose (mg/dL)."""
        return {"mg_dl": Decimal(round(self._means.glucose_mg_dl + self._random.gauss(0, 15)))}

    def weight(self) -> dict[str, Decimal]:
        """Return body weight (kg), in the steps of a scale."""
        raw = self._means.weight_kg + self._random.gauss(0, _WEIGHT_SD)
        return {"weight": Decimal(round(raw * 20)) / 20}

    def composition(self) -> dict[str, Decimal]:
        """Return body weight (kg) and body fat (%)."""
        return self.weight() | {"fat": Decimal(round(240 + self._random.gauss(0, 5))) / 10}

    def temperature(self) -> dict[str, Decimal]:
        """Return body temperature (degrees Celsius), in the steps of a thermometer."""
        return {"temperature": Decimal(round(366 + self._random.gauss(0, 2))) / 10}

    def oximetry(self) -> dict[str, Decimal]:
        """Return oxygen saturation (%) and pulse (/min)."""
        saturation = min(Decimal(round(96 + self._random.gauss(0, 1))), Decimal(100))
        return {"saturation": saturation, "pulse": self.blood_pressure()["pulse"]}

    def new_session(self) -> None:
        """Let time pass: the next readings are of another session."""
        self._session = self._random.gauss(0, _SESSION_SD)

    def readings(self, kind: str) -> Iterator[dict[str, Decimal]]:
        """Return an endless sequence of what one kind of device will measure."""
        measure = {
            "cuff": self.blood_pressure,
            "glucose_meter": self.glucose,
            "scale": self.weight,
            "thermometer": self.temperature,
            "oximeter": self.oximetry,
            "omron_memory": self.blood_pressure,
            "omron_timed": self.blood_pressure,
            "and_cuff": self.blood_pressure,
            "and_scale": self.weight,
            "microlife": self.blood_pressure,
            "yonker": self.blood_pressure,
            "enhanced_cuff": self.blood_pressure,
            "continuous_oximeter": self.oximetry,
            "glucose_monitor": self.glucose,
            "composition_scale": self.composition,
            "beurer_scale": self.composition,
            "health_sensor": self.blood_pressure,
            **dict.fromkeys(_SCALES, self.weight),
            **dict.fromkeys(_METERS, self.glucose),
        }[kind]
        while True:
            yield measure()
