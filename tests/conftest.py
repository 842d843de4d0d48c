"""For all tests: where coverage is counted."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count coverage in the fast tests only.

    The parts with a floor must be covered by tests of their own, not in passing; and a test with servers
    takes more than half as long again while it is counted.
    """
    for item in items:
        if item.path.relative_to(HERE).parts[0] in {"integration", "browser"}:
            item.add_marker(pytest.mark.no_cover)
