"""People and scenarios: the same seed, the same readings; wrong scenarios are named."""

from itertools import islice
from pathlib import Path

import pytest

from virtual_home.people import Condition, Person
from virtual_home.scenario import load_scenario
from wire_format.errors import Misconfigured


@pytest.mark.parametrize("kind", ["cuff", "glucose_meter", "scale"])
def test_the_same_seed_gives_the_same_readings(kind: str) -> None:
    first, again, other = (list(islice(Person(s, "p-1").readings(kind), 20)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_people_are_plausible() -> None:
    for condition in Condition:
        person = Person(3, "p-1", condition)
        for _ in range(200):
            person.new_session()
            values = person.blood_pressure()
            assert 60 < values["diastolic"] < values["systolic"] < 230 or values["diastolic"] > 30


def test_the_first_scenario_is_whole() -> None:
    scenario = load_scenario("first_line")
    assert [device.key for device in scenario.devices] == ["cuff", "meter", "scale"]
    assert {act.device for act in scenario.acts} == {"cuff", "meter", "scale"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seed = 1", "seeds = 1"), "seeds"),
        (('device = "scale"', 'device = "piano"'), "piano"),
        (("title", "=="), "no TOML"),
    ],
)
def test_what_is_wrong_in_a_scenario_is_named(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    good = Path("virtual_home/scenarios/first_line.toml").read_text()
    file = tmp_path / "wrong.toml"
    file.write_text(good.replace(*change, 1))
    with pytest.raises(Misconfigured, match=said):
        load_scenario(str(file))
