"""`cloud-bridge rehearse`: proposed thresholds over a history, before anybody is paged by them."""

import datetime as dt
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from cloud_bridge.rehearsal.cohort import Stratum, cohort
from cloud_bridge.rehearsal.histories import History, read_history, simulated
from cloud_bridge.rehearsal.report import facts, plot, table
from cloud_bridge.rehearsal.run import Pace, proposed, rehearse
from cloud_bridge.rehearsal.score import Outcome
from cloud_bridge.rehearsal.single import single_readings
from cloud_bridge.rules.programme import DEFAULT_PROGRAMME, PROGRAMMES, parse_programme
from wire_format.errors import Misconfigured

DEFAULT: Final = "default"
PROGRAMME_OF: Final = {
    Stratum.CONTROLLED.value: ("hypertension",),
    Stratum.UNCONTROLLED.value: ("hypertension",),
    Stratum.HEART_FAILURE.value: ("heart_failure",),
    Stratum.HYPO_PRONE.value: ("diabetes",),
}
"""The programme that a patient of each stratum would be in."""
SILENT: Final = ("SILENCE",)
"""Left out on a cohort: when simulated people do not measure says nothing about people."""
WORKERS: Final = 2
DAY_S: Final = 86_400


def rehearse_command(  # noqa: PLR0913, PLR0917 - a command has its options
    programme: Annotated[
        list[str] | None,
        typer.Option(
            help="A programme for everybody, or a TOML file with proposed thresholds. May be repeated."
        ),
    ] = None,
    history: Annotated[Path | None, typer.Option(help="A file of JSON lines: readings and episodes.")] = None,
    cohort_size: Annotated[int | None, typer.Option("--cohort", min=1, help="Simulated patients.")] = None,
    days: Annotated[int, typer.Option(min=15, max=3650, help="Days of the cohort.")] = 90,
    seed: Annotated[int, typer.Option(help="Of the cohort.")] = 1,
    pace: Annotated[Pace, typer.Option(help="Judge after each session, or once a day (faster).")] = Pace.DAY,
    zone: Annotated[str, typer.Option(help="The zone in which days are counted.")] = "Asia/Shanghai",
    picture: Annotated[Path | None, typer.Option(help="Write the picture here, as SVG.")] = None,
) -> None:
    """Replay a history through thresholds: alerts, episodes found, false alerts; beside single-reading rules.

    The last line is one JSON object.
    """
    if (history is None) == (cohort_size is None):
        raise Misconfigured("Give --history FILE, or --cohort N: what shall be rehearsed?")
    names, texts = _programmes(programme or [])
    began = time.monotonic()
    work = partial(_outcomes, names=names, texts=texts, zone=zone, pace=pace, simulated=history is None)
    if history is not None:
        pairs = [work([one]) for one in read_history(history)]
    else:
        pairs = list(_in_parallel(cohort_size or 0, days, seed, work))
    sets: dict[str, list[Outcome]] = {"programme": [], "single": []}
    for ours, theirs in pairs:
        sets["programme"] += ours
        sets["single"] += theirs
    typer.echo(table(sets))
    if picture is not None:
        picture.write_text(plot(sets), encoding="utf-8")
    said = facts(sets) | {"pace": pace.value, "seconds": round(time.monotonic() - began)}
    typer.echo(json.dumps(said))


def _programmes(given: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names of programmes for everybody, and the texts of proposed ones."""
    names, texts = [], []
    for one in given:
        if one in PROGRAMMES:
            names.append(one)
            continue
        if one == DEFAULT:
            continue
        try:
            text = Path(one).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(
                f"{one!r} is no programme ({', '.join(PROGRAMMES)}, {DEFAULT}) and no file that can be read."
            ) from error
        made = parse_programme(text)
        if made.name not in PROGRAMMES:
            raise Misconfigured(f"{one}: the programme {made.name!r} stands in for none: name one of them.")
        texts.append(text)
    return tuple(names), tuple(texts)


def _in_parallel(
    count: int, days: int, seed: int, work: partial[tuple[list[Outcome], list[Outcome]]]
) -> Iterator[tuple[list[Outcome], list[Outcome]]]:
    chunks = [range(start, min(start + 10, count)) for start in range(0, count, 10)]
    with ProcessPoolExecutor(WORKERS) as pool:
        yield from pool.map(partial(_chunk, days=days, seed=seed, work=work), chunks)


def _chunk(
    numbers: range, *, days: int, seed: int, work: partial[tuple[list[Outcome], list[Outcome]]]
) -> tuple[list[Outcome], list[Outcome]]:
    return work([simulated(one) for one in cohort(numbers.stop, days, seed, first=numbers.start)])


def _outcomes(  # noqa: PLR0913 - all that a rehearsal depends on
    histories: Sequence[History],
    *,
    names: Sequence[str],
    texts: Sequence[str],
    zone: str,
    pace: Pace,
    simulated: bool,
) -> tuple[list[Outcome], list[Outcome]]:
    rules_by = proposed([parse_programme(text) for text in texts], SILENT if simulated else ())
    ours, theirs = [], []
    for one in histories:
        own = (one.stratum,) if one.stratum in PROGRAMMES else (DEFAULT_PROGRAMME,)
        programmes = names or PROGRAMME_OF.get(one.stratum, own)
        raised = rehearse(one, programmes, zone, rules_by, pace)
        about = (one.patient, one.stratum, *_span(one), one.episodes)
        ours.append(Outcome(*about, tuple(raised)))
        theirs.append(Outcome(*about, tuple(single_readings(one))))
    return ours, theirs


def _span(history: History) -> tuple[dt.datetime, float]:
    """Return when a history begins, and how many days it takes: one at least."""
    times = [r.measured.utc for r in history.readings if r.measured is not None]
    if not times:
        return dt.datetime.max.replace(tzinfo=dt.UTC), 0.0
    return times[0], max((times[-1] - times[0]).total_seconds() / DAY_S, 1.0)
