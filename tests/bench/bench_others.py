"""Kiteline's decoders beside two published packages: right and wrong values, and time, in one run.

A packet counts for a package if the package reads its characteristic. `wrong` are values that were given and
are not what the packet says; `refused` those of packets that it did not read although they are in order.
Aim: at most 50 us a packet; reported, not asserted.
"""

import json
import math
import statistics
import subprocess
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from device_drivers.decoding import DECODERS
from device_drivers.profile import Decode
from tests.bench.bench_decoding import CAPTURES, lenient
from tests.bench.figures import repeated, section
from wire_format.errors import MalformedPacket
from wire_format.measurement import Absent
from wire_format.nomenclature import Term

PYTHON: Final = Path(__file__).parents[2] / ".venv-bench" / "bin" / "python"
ROUNDS: Final = 200
PLAIN: Final = Decode()
OURS: Final = "kiteline"

TERMS: Final[Mapping[str, Mapping[str, Term]]] = {
    "0x2A35": {
        "sys": Term.SYSTOLIC,
        "dia": Term.DIASTOLIC,
        "map": Term.MEAN_ARTERIAL,
        "pulse": Term.PULSE_RATE,
    },
    "0x2A18": {"mg_dl": Term.GLUCOSE},
    "0x2A9D": {"kg": Term.BODY_WEIGHT, "bmi": Term.BODY_MASS_INDEX, "height": Term.BODY_HEIGHT},
    "0x2A9C": {
        "fat_pct": Term.BODY_FAT,
        "bmr_kj": Term.BASAL_METABOLISM,
        "muscle_pct": Term.MUSCLE_PERCENTAGE,
        "soft_lean": Term.SOFT_LEAN_MASS,
        "water": Term.BODY_WATER_MASS,
        "ohm": Term.IMPEDANCE,
        "weight": Term.BODY_WEIGHT,
        "height": Term.BODY_HEIGHT,
    },
    "0x2A1C": {"value": Term.BODY_TEMPERATURE},
    "0x2A5E": {"spo2": Term.OXYGEN_SATURATION, "pr": Term.PULSE_RATE},
}
SPECIAL: Final = {Absent.NOT_A_NUMBER: "NaN", Absent.ABOVE_RANGE: "+INF", Absent.BELOW_RANGE: "-INF"}


def packets() -> list[dict[str, Any]]:
    """The captures of characteristics that more than one of the three reads."""
    captures: list[dict[str, Any]] = json.loads(CAPTURES.read_text())
    return [c for c in captures if c["characteristic"] in TERMS]


def expected(capture: dict[str, Any]) -> dict[str, object] | None:
    """What the packet says of each name; None if it is malformed.

    A zero in a body composition means "not measured": to give 0 or nothing is a matter of taste, not counted.
    """
    said = capture["expect"]
    if said.get("error"):
        return None
    named = {name: said[name] for name in TERMS[capture["characteristic"]] if name in said}
    if capture["characteristic"] == "0x2A9C":
        named = {name: value for name, value in named.items() if value != 0}
    return named | ({"kg": None} if said.get("weight") == "unsuccessful" else {})


def ours(capture: dict[str, Any]) -> dict[str, object] | None:
    """What Kiteline says of it."""
    characteristic = capture["characteristic"]
    try:
        decoded = DECODERS[characteristic[2:]](bytes.fromhex(capture["hex"]), PLAIN)
    except MalformedPacket:
        return None
    parts = {part.term: part for part in decoded.components}
    found = {name: parts[term] for name, term in TERMS[characteristic].items() if term in parts}
    return {
        name: SPECIAL.get(part.absent) if part.absent else float(part.value or 0)
        for name, part in found.items()
    }


def same(has: object, want: object) -> bool:
    if isinstance(want, int | float) and isinstance(has, int | float):
        return math.isclose(has, want, rel_tol=1e-9)
    return has == want


def judged(capture: dict[str, Any], said: Mapping[str, object] | None) -> Counter[str]:
    """Right and wrong values of one packet."""
    want = expected(capture)
    if want is None:
        return Counter({"right" if said is None else "wrong": 1})
    if said is None:
        return Counter(refused=len(want))
    return Counter("right" if same(said.get(name), value) else "wrong" for name, value in want.items())


def theirs(chosen: list[dict[str, Any]], rounds: int) -> dict[str, dict[str, Any]]:
    asked = json.dumps([(c["id"], c["characteristic"], c["hex"]) for c in chosen])
    script = str(Path(__file__).with_name("others.py"))
    done = subprocess.run(
        [str(PYTHON), script, str(rounds)],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def line(what: str, count: int, found: Counter[str], times: list[float], against: float | None) -> None:
    middle = statistics.median(times)
    ratio = "" if against is None else f"{middle / against:.2f} x"
    cells = (
        f"{count:>9}{found['right']:>7}{found['wrong']:>7}{found['refused']:>9}{middle:>11.2f} us{ratio:>10}"
    )
    print(f"  {what:<38}{cells}")  # noqa: T201 - a report


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not PYTHON.exists(), reason="SKIPPED PART: .venv-bench is not set up: `make bench` does it"
)
def test_beside_others() -> None:
    chosen = packets()
    report = theirs(chosen, ROUNDS)
    times = {
        c["id"]: repeated(
            partial(lenient, partial(DECODERS[c["characteristic"][2:]], decode=PLAIN)),
            [bytes.fromhex(c["hex"])],
            ROUNDS,
        )
        for c in chosen
    }
    section("Decoding beside others (ratio: to kiteline on the same packets)")
    print(f"  {'':<38}{'packets':>9}{'right':>7}{'wrong':>7}{'refused':>9}{'median':>14}{'ratio':>10}")  # noqa: T201 - a report
    for package, answers in report.items():
        both = [c for c in chosen if c["id"] in answers]
        own = sum((judged(c, ours(c)) for c in both), Counter[str]())
        other = sum((judged(c, answers[c["id"]]["values"]) for c in both), Counter[str]())
        mine = [statistics.median(times[c["id"]]) for c in both]
        line(f"kiteline, what {package} reads", len(both), own, mine, None)
        line(package, len(both), other, [answers[c["id"]]["us"] for c in both], statistics.median(mine))
        assert own["wrong"] == own["refused"] == 0
        assert other["right"] > 0
