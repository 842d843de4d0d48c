"""Rules of the live registry by id, and a patient's own values, made short."""

import datetime as dt
import json
from typing import Any

from cloud_bridge.rules.base import Membership, Setting, Settings
from cloud_bridge.rules.catalogue import AnyReadingRule
from cloud_bridge.rules.programme import PROGRAMMES, programme
from tests.doubles.bridge_readings import NOW
from wire_format.identity import derived_id


def every_rule() -> list[AnyReadingRule]:
    """Every rule of every installed programme."""
    return [rule for name in PROGRAMMES for rule in programme(name).rules]


def rule(identity: str, of_programme: str | None = None) -> AnyReadingRule:
    """One rule of the registry, of the first programme that has it unless one is named."""
    return next(one for one in every_rule() if one.id == identity and of_programme in {None, one.programme})


def own_setting(identity: str, parameter: str, value: Any, *, minutes: int = 0) -> Setting:
    """A patient's own value, stated `minutes` after NOW."""
    text, at = json.dumps(value), NOW + dt.timedelta(minutes=minutes)
    made = derived_id("test-setting", identity, parameter, text, minutes)
    return Setting(made, identity, parameter, text, "physician-1", "agreed with the patient", at)


def member(
    *programmes: str, since: dt.datetime, zone: str = "UTC", own: tuple[Setting, ...] = ()
) -> Settings:
    """Settings of patient-1, who joined programmes at a moment."""
    joined = tuple(Membership(derived_id("test-member", name), name, since) for name in programmes)
    return Settings(own, joined, zone, "patient-1")
