"""Programmes: one TOML file each, with the parameters of its rules and the sentences for each reader.

A file is a version of a rule set. Its bytes are kept with the findings that stood on it, so that a past
finding can be found again after the file has changed.
"""

import datetime as dt
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud_bridge.rules.base import GATEWAY, HOME, Finding, Setting, Settings
from cloud_bridge.rules.care import Care
from cloud_bridge.rules.catalogue import RULES, TECHNICAL_RULES, AnyReadingRule
from cloud_bridge.rules.episodes import LAST, soonest
from cloud_bridge.rules.technical import Sign, SignKind, TechnicalRule
from wire_format.errors import Misconfigured

DEFAULT_LANGUAGE: Final = "en"
LANGUAGES: Final = ("en", "zh-Hans")
DEFAULT_PROGRAMME: Final = "hypertension"
"""Where a patient is whom nobody put into a programme. Nothing is expected of them then."""
PROGRAMMES: Final = ("hypertension", "diabetes", "heart_failure")
TECHNICAL: Final = "technical"
DISCHARGE: Final = "discharge"
"""What is due after a discharge, in whatever programme a patient is."""
INSTALLED: Final = (*PROGRAMMES, TECHNICAL, DISCHARGE)

Texts = Mapping[str, Mapping[str, str]]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    programme: str
    version: str = Field(min_length=1, max_length=16)
    care: Care = Care()
    texts: Texts
    rules: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Programme:
    """One version of one programme. `digest` is the SHA-256 of the file, `body` its text."""

    name: str
    version: str
    digest: bytes
    body: str
    rules: tuple[AnyReadingRule, ...]
    technical: tuple[TechnicalRule, ...]
    texts: Texts
    rule_texts: Mapping[str, Texts]
    care: Care


def parse_programme(body: str) -> Programme:
    """Return the programme that a file says; raises `Misconfigured` saying what to correct."""
    try:
        file = _File.model_validate(tomllib.loads(body))
        unknown = sorted(set(file.rules) - {*RULES, *TECHNICAL_RULES})
        if unknown:
            raise Misconfigured(f"The catalogue of rules has no {unknown[0]}: correct its name, or add it.")
        given = {name: dict(table) for name, table in file.rules.items()}
        texts = {name: table.pop("texts", {}) for name, table in given.items()}
        made = [_rule(RULES[name], table, file) for name, table in given.items() if name in RULES]
        technical = [
            _technical(TECHNICAL_RULES[name], table, file)
            for name, table in given.items()
            if name in TECHNICAL_RULES
        ]
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise Misconfigured(f"The programme's file cannot be used: {error}") from error
    digest = hashlib.sha256(body.encode()).digest()
    rules = tuple(made), tuple(technical)
    return Programme(file.programme, file.version, digest, body, *rules, file.texts, texts, file.care)


def _rule(kind: type[AnyReadingRule], table: Mapping[str, Any], file: _File) -> AnyReadingRule:
    return kind(kind.parameters.model_validate(table), file.programme, file.version)


def _technical(kind: type[TechnicalRule], table: Mapping[str, Any], file: _File) -> TechnicalRule:
    own = kind.parameters.model_validate(table)
    return kind(own, file.programme, file.version)


@cache
def programme(name: str) -> Programme:
    """Return an installed programme; raises `Misconfigured` for a name that there is not."""
    if name not in INSTALLED:
        raise Misconfigured(f"There is no programme {name!r}: write one of {', '.join(PROGRAMMES)}.")
    return parse_programme((files("cloud_bridge.rules") / f"{name}.toml").read_text(encoding="utf-8"))


def installed(digest: bytes) -> Programme:
    """Return the installed programme of a digest; `KeyError` if none is."""
    return {p.digest: p for p in map(programme, INSTALLED)}[digest]


@lru_cache(maxsize=512)
def rules_for(subject: str, programmes: tuple[str, ...]) -> tuple[AnyReadingRule, ...]:
    """Return the rules of a subject: of a patient's programmes, and those that protect everybody.

    Of a rule that two programmes have, the first one decides. A home in which nobody is known has only what
    protects everybody; a gateway has no rule over readings.
    """
    if subject.startswith(GATEWAY):
        return ()
    of_patient = () if subject.startswith(HOME) else programmes or (DEFAULT_PROGRAMME,)
    agreed = (*of_patient, DISCHARGE) if of_patient else ()
    own = [rule for name in agreed for rule in programme(name).rules]
    safe = [rule for name in PROGRAMMES for rule in programme(name).rules if rule.everybody]
    chosen: dict[object, AnyReadingRule] = {}
    for rule in (*own, *safe):
        chosen.setdefault((rule.id, rule.programme) if rule.per_programme else rule.id, rule)
    return tuple(chosen.values())


def rules_of(settings: Settings) -> tuple[AnyReadingRule, ...]:
    """Return the rules that look at a subject with these settings."""
    return rules_for(settings.subject, tuple(m.programme for m in settings.programmes))


def care_of(finding: Finding) -> Care:
    """Return how soon what a programme found must be seen, and by whom."""
    name = finding.programme
    return programme(name if name in INSTALLED else DEFAULT_PROGRAMME).care


def silent_from(heard_at: dt.datetime) -> dt.datetime:
    """Return when a gateway that was heard at a moment will be silent, if nothing comes until then."""
    rules = programme(TECHNICAL).technical
    sign = Sign(UUID(int=0), SignKind.HEARD, heard_at)
    return soonest(*(rule.wakes([sign], Settings(), heard_at) for rule in rules)) or LAST


def check_own(rule: str, parameter: str, value: str) -> None:
    """Raise `Misconfigured` if no rule, or none of its parameters, can take a patient's own value (JSON)."""
    having = [
        known
        for name in INSTALLED
        for known in (*programme(name).rules, *programme(name).technical)
        if known.id == rule
    ]
    if not having:
        raise Misconfigured(f"There is no rule {rule}: write one of {', '.join(sorted(RULES))}.")
    names = having[0].parameters.model_fields
    if parameter not in names:
        raise Misconfigured(f"{rule} has no parameter {parameter}: write one of {', '.join(names)}.")
    said = Setting(UUID(int=0), rule, parameter, value, "", "", LAST)
    for known in having:
        try:
            known.personal(Settings(own=(said,)))
        except ValidationError as error:
            raise Misconfigured(f"{rule}, {parameter}: {error.errors()[0]['msg']}.") from error


def check_setting(setting: Setting) -> None:
    """Raise `Misconfigured` if a patient's own value that was agreed can no longer be used."""
    check_own(setting.rule, setting.parameter, setting.value)


def say(finding: Finding, language: str, part: str, values: Mapping[str, str] | None = None) -> str:
    """Return a sentence about a finding: `part` is "reason", "work", "physician" or "patient".

    A reason has one sentence for each variant ("reason_confirmed"). What a rule does not say itself its
    programme says for all; what a language does not say is said in English.
    """
    said = dict(finding.reason)
    variant = said.get("text", "")
    key = f"{part}_{variant}" if part == "reason" and variant else part
    template = _template(finding, language, key) or _template(finding, language, part)
    return (template or f"{finding.rule} ({finding.version})").format_map(values or _worded(said, language))


def common(language: str, key: str, values: Mapping[str, str]) -> str:
    """Return a sentence that belongs to no rule."""
    texts = programme(DEFAULT_PROGRAMME).texts
    return texts.get(language, texts[DEFAULT_LANGUAGE])[key].format_map(values)


def say_copy(finding: Finding, language: str, role: str, values: Mapping[str, str]) -> str:
    """Return what a role is told for its information: its own sentence, else the physician's."""
    template = _template(finding, language, role) or _template(finding, language, "physician")
    return (template or f"{finding.rule} ({finding.version})").format_map(values)


def discharge_words(language: str, key: str, values: Mapping[str, str]) -> str:
    """Return a sentence that belongs to a discharge plan."""
    texts = programme(DISCHARGE).texts
    return texts.get(language, texts[DEFAULT_LANGUAGE])[key].format_map(values)


def _template(finding: Finding, language: str, key: str) -> str | None:
    name = finding.programme or DEFAULT_PROGRAMME
    if name not in INSTALLED:
        return None
    found = programme(name)
    for tag in (language, DEFAULT_LANGUAGE):
        for texts in (found.rule_texts.get(finding.rule, {}), found.texts):
            if key in texts.get(tag, {}):
                return texts[tag][key]
    return None


class _worded(dict[str, str]):  # noqa: N801 - the values of one sentence
    """Values of a sentence; what an older version did not say is shown as a gap, not as a failure."""

    def __init__(self, said: Mapping[str, str], language: str) -> None:
        super().__init__(said)
        quantity = said.get("quantity")
        if quantity is not None:
            names = programme(DEFAULT_PROGRAMME).texts.get(language, {})
            self["quantity"] = names.get(f"quantity_{quantity}", quantity.replace("_", " "))

    def __missing__(self, key: str) -> str:
        return "…"
