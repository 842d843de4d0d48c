"""Every rule of the live registry: thresholds are pinned, findings replay, sentences are complete."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from cloud_bridge.rules.base import Finding, Reading
from cloud_bridge.rules.catalogue import RULES, AnyReadingRule
from cloud_bridge.rules.programme import LANGUAGES, PROGRAMMES, programme, say
from cloud_bridge.rules.refusals import Refusal, refusal
from wire_format.measurement import Failure, Remark

from rule_stories import stories
from story_kit import Story, every_rule

EVERY = pytest.mark.parametrize("one", every_rule(), ids=lambda r: f"{r.programme}:{r.id}")


@cache
def told(one: AnyReadingRule) -> tuple[Story, ...]:
    return tuple(stories(one))


def found(one: AnyReadingRule, story: Story) -> frozenset[Finding]:
    return one.findings(story.readings, story.settings, story.now)


def text(finding: Finding) -> str:
    return dict(finding.reason)["text"]


def outcome(one: AnyReadingRule, story: Story) -> set[tuple[Any, ...]]:
    """What a nudge of a parameter must change: not how limits are worded, but what is found of what."""
    return {(f.evidence, f.standing, f.severity, text(f)) for f in found(one, story)}


@cache
def as_it_is(one: AnyReadingRule) -> list[set[tuple[Any, ...]]]:
    """What its stories come to with the parameters of its programme."""
    return [outcome(one, story) for story in told(one)]


def test_every_rule_of_the_catalogue_is_in_a_programme_and_in_its_order() -> None:
    assert {rule.id for rule in every_rule()} == set(RULES)


@EVERY
def test_each_story_fires_or_does_not(one: AnyReadingRule) -> None:
    assert {story.fires for story in told(one)} == {True, False}
    for number, story in enumerate(told(one)):
        texts = [text(f) for f in found(one, story)]
        fires = story.text in texts if story.text is not None else bool(texts)
        assert fires is story.fires, (number, texts)


# --- each threshold is pinned from both sides ---

NOTHING_DECIDED_BY = {
    ("GLU-FASTING", "look_again_days"): "is told to people, and decides nothing",
    ("WEIGHT-HF", "gains.1"): "2 kg in 3 days is always reached before 5 lb in 3 days",
    ("GLU-TIR", "interval_minutes"): "data are a share of time: slots a little longer cover as much",
}


def idle(one: AnyReadingRule, name: str) -> bool:
    """Whether a parameter decides nothing in this programme."""
    without_baseline = one.id == "PULSE" and getattr(one._own, "above_baseline", None) is None  # noqa: SLF001 - the file's
    listed = any(one.id == rule and name.startswith(path) for rule, path in NOTHING_DECIDED_BY)
    return listed or (without_baseline and name.startswith("baseline_"))


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            yield from leaves(part, (*path, index))
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, (*path, name))
    elif isinstance(value, int | Decimal | dt.time) and not isinstance(value, bool):
        yield path, value


def put(value: Any, path: tuple[str | int, ...], leaf: Any) -> Any:
    """The same parameters with another leaf, unvalidated: a nudge may part the two numbers of a pair."""
    if not path:
        return leaf
    first, rest = path[0], path[1:]
    if isinstance(value, BaseModel):
        return value.model_copy(update={str(first): put(getattr(value, str(first)), rest, leaf)})
    if isinstance(value, tuple):
        return tuple(put(v, rest, leaf) if i == first else v for i, v in enumerate(value))
    return {name: put(v, rest, leaf) if name == first else v for name, v in value.items()}


def nudges(leaf: Any) -> Iterator[Any]:
    match leaf:
        case int():
            yield from (leaf - 1, leaf + 1)
        case Decimal():
            step = Decimal((0, (1,), int(leaf.as_tuple().exponent)))
            yield from (leaf - step, leaf + step)
        case dt.time():
            at = dt.datetime.combine(dt.date(2026, 1, 1), leaf)
            yield from ((at + dt.timedelta(minutes=m)).time() for m in (-1, 1))


def nudged(one: AnyReadingRule, path: tuple[str | int, ...], step: int) -> AnyReadingRule:
    """The rule, whose parameter is a little off for every patient."""

    class Nudged(type(one)):  # type: ignore[misc]  # the rule's own class, whatever it is
        def personal(self, settings: Any) -> Any:
            own, said = super().personal(settings)
            here = dict(leaves(own))
            if path not in here:
                return own, said
            return put(own, path, list(nudges(here[path]))[step]), said

    own, _ = one.personal(told(one)[0].settings)
    return Nudged(own, one.programme, one.version)


def thresholds() -> Iterator[Any]:
    for one in every_rule():
        own = one._own  # noqa: SLF001 - what the programme's file says, before any patient's own
        for path, leaf in leaves(own):
            name = ".".join(map(str, path))
            for step, value in enumerate(nudges(leaf)):
                # Below one reading, one day or one session there is nothing.
                if not idle(one, name) and not (isinstance(leaf, int) and value < 1):
                    yield pytest.param(one, path, step, id=f"{one.programme}:{one.id}:{name}={value}")


@pytest.mark.no_cover  # the stories are counted above; to count each nudge of each takes as long again
@pytest.mark.parametrize(("one", "path", "step"), list(thresholds()))
def test_a_parameter_that_is_a_little_off_is_noticed(
    one: AnyReadingRule, path: tuple[str | int, ...], step: int
) -> None:
    off = nudged(one, path, step)
    assert any(outcome(off, story) != right for story, right in zip(told(one), as_it_is(one), strict=True))


# --- what every finding promises ---


@EVERY
def test_a_finding_is_found_again_from_its_own_evidence(one: AnyReadingRule) -> None:
    for story in told(one):
        for finding in found(one, story):
            alone = [r for r in story.readings if r.id in finding.evidence]
            assert finding in one.findings(alone, story.settings, story.now)


@EVERY
def test_a_finding_names_its_programme_and_what_it_stood_on(one: AnyReadingRule) -> None:
    for story in told(one):
        by_id = {r.id: r for r in story.readings}
        for finding in found(one, story):
            assert (finding.rule, finding.programme, finding.version) == (one.id, one.programme, one.version)
            assert finding.subject == "patient-1"
            stated = {s for i in finding.evidence for s in by_id[i].statements}
            assert stated <= set(finding.statements)
            assert finding.evidence or finding.statements


@EVERY
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_is_said_to_every_reader(one: AnyReadingRule, language: str) -> None:
    texts = programme(one.programme).rule_texts[one.id][language]
    assert set(texts) == set(programme(one.programme).rule_texts[one.id]["en"])
    said = set()
    for story in told(one):
        for finding in found(one, story):
            for part in ("reason", "work", "physician", "patient"):
                sentence = say(finding, language, part, {"reason": "x"} if part == "physician" else None)
                assert sentence
                assert "…" not in sentence
                assert "{" not in sentence
            said.add(f"reason_{text(finding)}" if text(finding) else "reason")
    assert said >= {key for key in texts if key.startswith("reason") and "unassigned" not in key} - {
        "reason_baseline" if one.programme == "hypertension" else "",
        "reason_downgraded",
    }


def refused(reading: Reading) -> Iterator[tuple[Refusal, Reading]]:
    m = reading.measurement
    for reason, changed in (
        (Refusal.FAILED, m.model_copy(update={"failure": Failure.DEVICE_FAULT})),
        (Refusal.IMPLAUSIBLE, m.model_copy(update={"remarks": (Remark.IMPLAUSIBLE,)})),
        (Refusal.CONTRADICTORY, m.model_copy(update={"remarks": (Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC,)})),
    ):
        yield reason, replace(reading, measurement=changed)
    yield Refusal.REPETITION, replace(reading, repetition_of=UUID(int=1))


@EVERY
def test_no_rule_stands_on_what_is_refused_and_each_refusal_has_its_reason(one: AnyReadingRule) -> None:
    for story in told(one):
        for kinds in zip(*(refused(r) for r in story.readings), strict=True):
            readings = [reading for _, reading in kinds]
            assert [refusal(r) for r in readings] == [reason for reason, _ in kinds]
            assert all(not f.evidence for f in one.findings(readings, story.settings, story.now))


@EVERY
def test_a_rule_that_was_switched_off_says_nothing(one: AnyReadingRule) -> None:
    class Off(type(one)):  # type: ignore[misc]  # the rule's own class, whatever it is
        def personal(self, settings: Any) -> Any:
            own, said = super().personal(settings)
            return own.model_copy(update={"enabled": False}), said

    off = Off(one._own, one.programme, one.version)  # noqa: SLF001 - as above
    for story in told(one):
        assert off.findings(story.readings, story.settings, story.now) == frozenset()
        assert off.wakes(story.readings, story.settings, story.now) is None


def test_programmes_name_themselves() -> None:
    assert [programme(name).name for name in PROGRAMMES] == list(PROGRAMMES)
