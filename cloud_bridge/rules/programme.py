"""The data of rule files: thresholds as pairs of units, and the sentences for each reader. Read once."""

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from cloud_bridge.rules.base import Settings
from wire_format.nomenclature import Unit

DEFAULT_LANGUAGE: Final = "en"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PressureLimit(_Part):
    """One threshold, in each unit a cuff may report. A patient's own one replaces the mmHg of the pair."""

    mmhg: Decimal
    kpa: Decimal

    def in_unit(self, unit: Unit) -> Decimal:
        """Return the threshold in the unit that the device reported."""
        return self.kpa if unit is Unit.KPA else self.mmhg


class Severe(_Part):
    """Parameters of BP-SEVERE."""

    source: str
    systolic: PressureLimit
    diastolic: PressureLimit
    confirm_within_minutes: int


class Consecutive(_Part):
    """Parameters of BP-CONSECUTIVE."""

    source: str
    systolic: PressureLimit
    diastolic: PressureLimit
    sessions: int
    session_gap_minutes: int


class Hypertension(_Part):
    """The file hypertension.toml."""

    version: str
    severe: Severe
    consecutive: Consecutive
    texts: Mapping[str, Mapping[str, str]]


@cache
def hypertension() -> Hypertension:
    """Return the default programme."""
    text = (files("cloud_bridge.rules") / "hypertension.toml").read_text(encoding="utf-8")
    return Hypertension.model_validate(tomllib.loads(text))


def with_settings(programme: Hypertension, settings: Settings) -> Hypertension:
    """Return the programme with a patient's own values, named as "consecutive.systolic.mmhg"."""
    keys: dict[str, Any] = programme.model_dump()
    for name, value in settings.overrides.items():
        *path, last = name.split(".")
        part = keys
        for step in path:
            part = part[step]
        if last not in part:
            raise KeyError(name)
        part[last] = value
    return Hypertension.model_validate(keys)


def sentence(language: str, key: str, values: Mapping[str, str]) -> str:
    """Return a sentence of the programme in a language, or in English where there is none in it."""
    texts = hypertension().texts
    return texts.get(language, texts[DEFAULT_LANGUAGE])[key].format_map(values)
