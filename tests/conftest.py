"""For all tests: where coverage is counted, and that made-up examples are given the time they take."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
# A slow machine is no fault of the code. This goes on top of what is set by default, in CI for one.
settings.register_profile(
    "unhurried", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count coverage in the fast tests only.

    The parts with a floor must be covered by tests of their own, not in passing; and a test with servers
    takes more than half as long again while it is counted.
    """
    for item in items:
        kind, *_, name = item.path.relative_to(HERE).parts
        if kind not in {"unit", "property"} or name == "test_fuzz_slice.py":
            item.add_marker(pytest.mark.no_cover)
