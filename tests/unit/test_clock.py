"""The gateway's clock: it says when it does not know the time, and ties a boot to UTC once it does."""

import datetime as dt
from pathlib import Path
from uuid import UUID

from edge_agent.clock import GatewayClock, kernel_uncertainty, system_boot_id, vouched
from tests.doubles.edge_readings import BOOT, NOON


def test_an_unsynchronised_clock_is_not_believed() -> None:
    clock = GatewayClock(BOOT, uncertainty=lambda: None, utc=lambda: NOON)
    assert clock.now().uncertainty_ms is None
    assert clock.utc_if_known() is None
    assert clock.anchor("gw-1") is None


def test_a_clock_before_this_software_was_written_is_not_believed_whoever_vouches() -> None:
    clock = GatewayClock(BOOT, uncertainty=vouched(5), utc=lambda: dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    assert clock.now().uncertainty_ms is None


def test_the_anchor_ties_the_boot_to_utc() -> None:
    clock = GatewayClock(BOOT, uncertainty=vouched(5), utc=lambda: NOON, monotonic_ns=lambda: 77)
    anchor = clock.anchor("gw-1")
    assert anchor is not None
    assert (anchor.boot_id, anchor.monotonic_ns) == (BOOT, 77)
    assert (anchor.moment.utc, anchor.moment.uncertainty_ms) == (NOON, 5)


def test_the_kernel_answers() -> None:
    bound = kernel_uncertainty()
    assert bound is None or bound >= 0
    assert system_boot_id() == UUID(Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def test_monotonic_time_goes_on() -> None:
    clock = GatewayClock(BOOT)
    before = clock.now().monotonic_ns
    assert clock.now().monotonic_ns > before
