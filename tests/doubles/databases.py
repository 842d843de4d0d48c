"""Where a desk keeps its record: a file of SQLite, or whatever the test of this moment runs on."""

from collections.abc import Callable
from pathlib import Path

Address = Callable[[Path], str]
"""The database of a folder; the same folder has the same database."""


def sqlite(folder: Path) -> str:
    return f"sqlite:///{folder}/bridge.sqlite"


class Databases:
    """What `each_engine` (tests/integration/conftest.py) sets for the time of one test."""

    of: Address = staticmethod(sqlite)
