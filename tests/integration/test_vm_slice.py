"""A few scenarios on a real kernel and a real bluetoothd, in one boot. All of them: `make test-vm`."""

import pytest

from tests.vm.machine import missing
from tests.vm.run import run
from tests.vm.scenarios import SCENARIOS


@pytest.mark.timeout(600)
async def test_the_gateway_reads_devices_through_a_real_bluetoothd() -> None:
    lacking = missing()
    if lacking:
        pytest.skip(f"no virtual machine: {', '.join(lacking)} missing; `make test-vm` installs it")
    chosen = [scenario for scenario in SCENARIOS if scenario.in_slice]
    report = await run(chosen)
    assert [outcome.name for outcome in report.outcomes] == [scenario.name for scenario in chosen]
    assert {outcome.name: outcome.failure for outcome in report.failed} == {}
    assert all(outcome.seconds is not None for outcome in report.outcomes)
