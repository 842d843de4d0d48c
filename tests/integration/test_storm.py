"""A slice of the storm: kills spread over the whole path. `make storm` carries out all of it."""

import pytest

from tests.doubles.bridge_readings import CUFF, blood_pressure
from virtual_home.lab import Lab
from virtual_home.scenario import numbered_device
from virtual_home.storm import WINDOW, plan, run_storm, scenario
from virtual_home.truth import Difference, Stored, compare

NOTHING = Difference(lost=(), doubled=(), invented=(), misfiled=())


@pytest.mark.timeout(400)
async def test_kills_along_the_path_lose_and_double_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    whole = plan()
    cases = [*whole[::7], next(case for case in whole if case.device == "discarding")]
    discarding = [case for case in cases if case.device == "discarding"]
    outcome = await run_storm(Lab(tmp_path_factory.mktemp("s"), scenario(1)), cases)
    assert outcome.hits == len(cases)
    assert outcome.difference == NOTHING
    # The only readings that may be missing are of the device which discards, one for each kill in its window.
    assert outcome.window <= len(discarding)
    assert outcome.readings > outcome.hits
    assert outcome.alerts == outcome.tasks == outcome.acknowledged == outcome.heard
    assert outcome.alerts >= 1
    assert (outcome.new_after_resend, outcome.dead_letters) == (0, 0)


def test_the_plan_has_every_step_and_fifty_kills() -> None:
    from cloud_bridge.steps import Step as BridgeStep  # noqa: PLC0415 - both sides call theirs Step
    from edge_agent.steps import Step as AgentStep  # noqa: PLC0415 - as above

    cases = plan()
    assert len(cases) >= 50
    assert {case.step for case in cases if case.process == "agent"} == set(AgentStep)
    assert {case.step for case in cases if case.process == "bridge"} == set(BridgeStep)
    assert {case.victim for case in cases} == {"agent", "bridge", "broker"}
    assert {case.step for case in cases if case.device == "discarding"} == set(WINDOW)


def test_a_difference_is_seen() -> None:
    devices = [numbered_device(1, "cuff", "cuff").model_copy(update={"serial": CUFF.serial, "person": "1"})]
    m = blood_pressure("120")
    ledger = [{"packet": packet, "device": "cuff"} for packet in ("aa", "bb", "cc")]
    stored = [Stored("aa", "patient-1", m), Stored("bb", "patient-2", m), Stored("bb", "patient-1", m)]
    found = compare(ledger, [*stored, Stored("dd", "patient-1", m)], devices)
    assert found == Difference(
        lost=(("cuff", "cc"),),
        doubled=((CUFF.serial, "bb"),),
        invented=((CUFF.serial, "dd"),),
        misfiled=((CUFF.serial, "bb"),),
    )
