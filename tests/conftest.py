"""For all tests: where coverage is counted, whom TLS trusts, and the time that made-up examples are given."""

import gc
import importlib
import os
import pkgutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from coverage import Coverage
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
LONG = {"test_vm_slice.py", "test_whole_path.py"}  # a minute and more, each in one process
# A slow machine is no fault of the code. This goes on top of what is set by default, in CI for one.
settings.register_profile(
    "unhurried", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    """Let TLS know one of the world's authorities, here and in every process that is started.

    All traffic is to loopback, where none of them vouches for anybody; and to read them all, each of
    thousands of HTTP clients takes longer than its test does.
    """
    if hasattr(config, "workerinput"):
        # What pytest-cov starts in a worker before it knows that it is one goes on whenever `no_cover` stops
        # its successor: everything would be counted, into what nobody reads.
        if (unread := Coverage.current()) is not None:
            unread.stop()
        return  # its environment is that of the process that started it
    # To look for somebody's plugin, each of hundreds of processes reads what all packages say of themselves.
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"
    end = "-----END CERTIFICATE-----\n"
    first, *_ = Path(certifi.where()).read_text().partition(end)
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    one = Path(folder.name) / "authority.pem"
    one.write_text(first + end)
    os.environ["SSL_CERT_FILE"] = str(one)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Count what the parts with a floor do when they are imported, and not how pytest reads the tests."""
    counting = Coverage.current()
    if counting is None:
        return (yield)
    for part in counting.get_option("run:source") or ():
        package = importlib.import_module(str(part))
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)
    counting.stop()
    try:
        return (yield)
    finally:
        counting.start()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, and count coverage in the unit tests only.

    What is long and comes last is waited for with processes idle. The parts with a floor must be covered by
    tests of their own, not in passing; and a test takes twice as long while it is counted.
    """
    items.sort(key=lambda item: item.path.name not in LONG)
    for item in items:
        if item.path.relative_to(HERE).parts[0] != "unit":
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Put what is loaded now out of the collector's sight, and let it look at all of the rest less often.

    What is loaded stays to the end, and is large; so is what the web framework keeps of every page's routes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 300)
