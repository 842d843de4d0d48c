"""Rehearsals: the bridge's own judging over known histories, scored against what was true."""

import datetime as dt
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_bridge.rehearsal.cohort import BEGINS, Episode, EpisodeKind, Stratum, cohort
from cloud_bridge.rehearsal.histories import History, read_history, simulated
from cloud_bridge.rehearsal.report import facts, plot, table
from cloud_bridge.rehearsal.run import FOLD, Pace, Raised, items, problem_of, proposed, rehearse
from cloud_bridge.rehearsal.score import Outcome, Share, manual, score, severe
from cloud_bridge.rehearsal.single import single_readings
from cloud_bridge.rules.base import Severity
from cloud_bridge.rules.catalogue import RULES
from cloud_bridge.rules.programme import parse_programme, programme
from wire_format.errors import Misconfigured

pytestmark = pytest.mark.no_cover  # about the rehearsal, which has no floor

ZONE = "Asia/Shanghai"
PEOPLE = [simulated(one) for one in cohort(20, 30, 1)]
DAY = dt.timedelta(days=1)


def one_of(stratum: Stratum) -> History:
    return next(h for h in PEOPLE if h.stratum == stratum.value)


def raised(at: dt.datetime, rule: str = "BP-HOME", severity: Severity = Severity.HIGH) -> Raised:
    kind = RULES.get(rule)
    folds = rule if kind is None else kind.problem or None
    return Raised(at, rule, severity, clinical=True, late=False, folds=folds)


def outcome(*found: Raised, episodes: tuple[Episode, ...] = (), days: float = 30) -> Outcome:
    return Outcome("a", "x", BEGINS, days, episodes, found)


def test_a_rehearsal_raises_what_life_would_raise() -> None:
    history = one_of(Stratum.HYPO_PRONE)
    found = rehearse(history, ["diabetes"], ZONE, proposed([]))
    lows = [e for e in history.episodes if e.kind is EpisodeKind.LOW_GLUCOSE]
    assert lows
    assert len([r for r in found if r.rule == "GLU-LOW-2"]) == len(lows)
    assert all(r.at >= BEGINS and not r.late for r in found)
    assert found == sorted(found, key=lambda r: r.at)


def test_once_a_day_finds_the_same_later() -> None:
    history = one_of(Stratum.UNCONTROLLED)
    by_pace = {
        pace: [r for r in rehearse(history, ["hypertension"], ZONE, proposed([]), pace) if manual(r)]
        for pace in Pace
    }
    assert {r.rule for r in by_pace[Pace.DAY]} == {r.rule for r in by_pace[Pace.SESSION]} != set()
    first = {pace: min(r.at for r in rows) for pace, rows in by_pace.items()}
    assert first[Pace.SESSION] <= first[Pace.DAY] <= first[Pace.SESSION] + DAY


def test_proposed_thresholds_take_the_place_of_the_installed_ones() -> None:
    history = one_of(Stratum.CONTROLLED)
    body = programme("hypertension").body
    assert body.count('{ mmhg = "135", kpa = "18.0" }') >= 1
    lower = parse_programme(body.replace('{ mmhg = "135", kpa = "18.0" }', '{ mmhg = "110", kpa = "14.7" }'))
    now = [r for r in rehearse(history, ["hypertension"], ZONE, proposed([]), Pace.DAY) if manual(r)]
    then = [r for r in rehearse(history, ["hypertension"], ZONE, proposed([lower]), Pace.DAY) if manual(r)]
    assert len(then) > len(now)
    without = rehearse(history, ["hypertension"], ZONE, proposed([lower], list(RULES)), Pace.DAY)
    assert without == []


def test_repeats_of_a_problem_fold_as_in_life() -> None:
    times = [BEGINS, BEGINS + 2 * DAY, BEGINS + 4 * DAY, BEGINS + 4 * DAY + FOLD + DAY]
    for rule in ("BP-CONSECUTIVE", "SINGLE-BP"):
        found = items([raised(at, rule) for at in times], manual)
        # Somebody saw the first one: what comes after three days asks again, whatever came in between.
        assert [one.at for one in found] == [times[0], times[2], times[3]]
    # Rules that life does not fold into one item are not folded here, and what names no problem never is.
    assert len(items([raised(BEGINS, "BP-CONSECUTIVE"), raised(BEGINS, "BP-URGENT-CN")], manual)) == 2
    assert len(items([raised(BEGINS, "BP-PROTOCOL"), raised(BEGINS, "BP-PROTOCOL")], manual)) == 2
    # What is graver asks again, as in life; what is lighter, or as grave, does not.
    home, in_a_row = raised(BEGINS, "BP-HOME", Severity.ROUTINE), raised(BEGINS + DAY, "BP-CONSECUTIVE")
    assert items([home, in_a_row, replace(home, at=BEGINS + 2 * DAY)], manual) == [home, in_a_row]
    assert len(items([raised(BEGINS, "GLU-LOW-1"), raised(BEGINS, "GLU-LOW-2")], manual)) == 1
    apart = [
        raised(BEGINS),
        raised(BEGINS, "WEIGHT-HF"),
        raised(BEGINS, "GLU-LOW-1"),
        raised(BEGINS, "PULSE"),
    ]
    assert len(items(apart, manual)) == 4
    severe_one = raised(BEGINS, "BP-SEVERE", Severity.SEVERE)
    assert (items([severe_one], manual), len(items([severe_one], severe))) == ([], 1)


def test_every_rule_is_about_a_problem() -> None:
    known = {"pressure", "low pressure", "pulse", "low glucose", "high glucose", "weight", "silence"}
    assert {problem_of(rule) for rule in RULES} <= {*known, "first visit"}


def test_an_episode_is_found_within_its_time_by_an_alert_about_it() -> None:
    episode = Episode(EpisodeKind.HYPERTENSION, BEGINS + 5 * DAY, BEGINS + 20 * DAY)
    for at, rule, found in (
        (episode.begins + 7 * DAY, "BP-HOME", 1),
        (episode.begins + 7 * DAY + dt.timedelta(seconds=1), "BP-HOME", 0),
        (episode.begins - dt.timedelta(seconds=1), "BP-HOME", 0),
        (episode.begins + DAY, "WEIGHT-HF", 0),
    ):
        one = score([outcome(raised(at, rule), episodes=(episode,))])
        assert (one.found.found, one.found.of) == (found, 1)
    at_once = Episode(EpisodeKind.LOW_GLUCOSE, BEGINS + DAY, BEGINS + DAY)
    for severity, found in ((Severity.SEVERE, 1), (Severity.HIGH, 0)):
        alert = raised(at_once.begins, "GLU-LOW-2", severity)
        assert score([outcome(alert, episodes=(at_once,))]).severe_found == Share(found, 1)


def test_alerts_outside_of_episodes_are_counted() -> None:
    episode = Episode(EpisodeKind.HYPERTENSION, BEGINS + 5 * DAY, BEGINS + 9 * DAY)
    one = score([outcome(raised(BEGINS), raised(BEGINS + 8 * DAY), episodes=(episode,))])
    assert one.outside == Share(1, 2)
    assert (one.manual.count, round(one.manual.value, 3)) == (2, 0.667)


@pytest.mark.parametrize(
    ("found", "of", "low", "high"), [(0, 10, 0.0, 0.278), (5, 10, 0.237, 0.763), (10, 10, 0.722, 1.0)]
)
def test_shares_have_wilsons_interval(found: int, of: int, low: float, high: float) -> None:
    interval = Share(found, of).interval
    assert interval is not None
    assert (round(interval[0], 3), round(interval[1], 3)) == (low, high)
    assert Share(0, 0).interval is None


def test_rates_have_an_interval_around_them() -> None:
    many = [outcome(raised(BEGINS)), outcome(), outcome(raised(BEGINS), raised(BEGINS + 9 * DAY))]
    rate = score(many).manual
    assert rate.interval[0] <= rate.value <= rate.interval[1]
    assert rate.interval[0] < rate.interval[1]


def test_single_readings_alert_at_every_crossing() -> None:
    history = one_of(Stratum.CONTROLLED)
    high = [r for r in history.readings if _pressure(r)[0] >= 135 or _pressure(r)[1] >= 85]
    assert len(single_readings(history)) == len(high) > 0
    assert {r.rule for r in single_readings(one_of(Stratum.HYPO_PRONE))} >= {"SINGLE-GLU-LOW"}


def _pressure(reading: object) -> tuple[int, int]:
    parts = reading.measurement.components  # type: ignore[attr-defined]  # a reading
    return int(parts[0].value), int(parts[1].value)


def test_what_is_told_is_what_was_scored() -> None:
    sets = {"programme": [outcome(raised(BEGINS))], "single": [outcome()]}
    told = facts(sets)
    assert told["programme"]["all"]["manual_per_10_days"] == 0.333
    assert told["per_rule"] == {"programme": {"BP-HOME": 1}, "single": {}}
    lines = table(sets).splitlines()
    assert len(lines) == 5
    assert re.search(r"manual/10 d +95 % +/week +/nurse day", lines[0])
    assert re.search(r" 0\.33 +\S+ +0\.23 +3\.3 ", lines[1])
    assert plot(sets).count("<rect") == 5


MORNING = "2026-01-05T07:00:00+08:00"
HISTORY = "\n".join(
    json.dumps(line)
    for line in (
        {"patient": "a", "stratum": "ward"},
        {"patient": "a", "episode": "low_glucose", "begins": MORNING, "ends": "2026-01-05T08:00:00+08:00"},
        {"patient": "a", "at": MORNING, "quantity": "glucose", "values": {"glucose": ["2.7", "mmol/L"]}},
    )
)


def command(*words: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cloud_bridge.cli", "rehearse", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_history_of_ones_own_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "history").write_text(HISTORY)
    picture = tmp_path / "picture.svg"
    status, out, _ = command(
        "--history", str(tmp_path / "history"), "--programme", "diabetes", "--picture", str(picture)
    )
    assert status == 0
    said = json.loads(out.splitlines()[-1])
    assert said["programme"]["ward"]["severe_found"]["found"] == 1
    assert picture.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1"),
        ('{"at": 1}', "patient"),
        ('{"patient": "a", "at": "2026-01-05T07:00:00", "quantity": "glucose", "values": {}}', "no zone"),
        ('{"patient": "a", "episode": "flu", "begins": "", "ends": ""}', "flu"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "history").write_text(line)
    with pytest.raises(Misconfigured, match=said):
        read_history(tmp_path / "history")


def test_mistakes_on_the_command_line_are_named(tmp_path: Path) -> None:
    for words, said in (
        ((), "what shall be rehearsed"),
        (("--cohort", "1", "--history", "x"), "what shall be rehearsed"),
        (("--cohort", "1", "--programme", "x"), "no programme"),
        (("--history", str(tmp_path / "none")), "cannot be read"),
    ):
        status, _, error = command(*words)
        assert status == 2
        assert said in error
