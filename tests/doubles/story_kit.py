"""What stories are told with: a history, what is agreed, and short names for readings and settings."""

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud_bridge.rules.base import Membership, Reading, Setting, Settings
from cloud_bridge.rules.catalogue import AnyReadingRule
from cloud_bridge.rules.programme import DISCHARGE, PROGRAMMES, programme
from tests.doubles.bridge_readings import NOW, glucose, owned, reading, weight
from wire_format.identity import derived_id
from wire_format.measurement import Absent
from wire_format.nomenclature import Unit

DAY = 24 * 60
LATER = NOW + dt.timedelta(days=2)
LONG_AGO = NOW - dt.timedelta(days=200)


def every_rule() -> list[AnyReadingRule]:
    """Every rule of every installed programme."""
    return [rule for name in (*PROGRAMMES, DISCHARGE) for rule in programme(name).rules]


def rule(identity: str, of_programme: str | None = None) -> AnyReadingRule:
    """One rule of the registry, of the first programme that has it unless one is named."""
    return next(one for one in every_rule() if one.id == identity and of_programme in {None, one.programme})


def own_setting(identity: str, parameter: str, value: Any, *, minutes: int = 0) -> Setting:
    """A patient's own value, stated `minutes` after NOW."""
    text, at = json.dumps(value), NOW + dt.timedelta(minutes=minutes)
    made = derived_id("test-setting", identity, parameter, text, minutes)
    return Setting(made, identity, parameter, text, "physician-1", "agreed with the patient", at)


def member(
    *programmes: str, since: dt.datetime = LONG_AGO, zone: str = "UTC", own: tuple[Setting, ...] = ()
) -> Settings:
    """Settings of patient-1, who joined programmes at a moment."""
    joined = tuple(Membership(derived_id("test-member", name), name, since) for name in programmes)
    return Settings(own, joined, zone, "patient-1")


EVERYTHING = member(*PROGRAMMES)


@dataclass(frozen=True)
class Story:
    """A history, what is agreed, and the moment at which the rule is asked."""

    readings: Sequence[Reading]
    fires: bool
    settings: Settings = EVERYTHING
    now: dt.datetime = LATER
    text: str | None = field(default=None)


def yes(*readings: Reading, text: str | None = None, **more: Any) -> Story:
    return Story(readings, fires=True, text=text, **more)


def no(*readings: Reading, **more: Any) -> Story:
    return Story(readings, fires=False, **more)


def bp(systolic: str, diastolic: str = "80", minutes: float | None = 0, **more: Any) -> Reading:
    return reading(systolic, diastolic, minutes=minutes, **more)


def kpa(systolic: str, diastolic: str = "10.0", minutes: float = 0) -> Reading:
    return reading(systolic, diastolic, minutes=minutes, unit=Unit.KPA)


def sugar(value: str | Absent, minutes: float | None = 0, **more: Any) -> Reading:
    return owned(glucose(value, minutes=minutes, **more))


def mg(value: str, minutes: float = 0, **more: Any) -> Reading:
    return sugar(value, minutes, unit=Unit.MG_PER_DL, **more)


def kg(value: str, day: int, minutes: float = 0) -> Reading:
    return owned(weight(value, minutes=day * DAY + minutes))


def lb(value: str, day: int) -> Reading:
    return owned(weight(value, minutes=day * DAY, unit=Unit.POUND))
