"""Where a desk keeps its record: a file of SQLite, or whatever the test of this moment runs on."""

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cloud_bridge.store.engine import open_engine

Address = Callable[[Path], str]
"""The database of a folder; the same folder has the same database."""


def sqlite(folder: Path) -> str:
    """A file with the current schema when it is first asked for: to migrate takes longer than many tests."""
    file = folder / "bridge.sqlite"
    if not file.exists():
        file.touch(0o600)
        file.write_bytes(_migrated())
    return f"sqlite:///{file}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bridge.sqlite"
        open_engine(f"sqlite:///{file}").dispose()
        assert [one.name for one in Path(folder).iterdir()] == [file.name], "it is all in the file"
        return file.read_bytes()


class Databases:
    """What `each_engine` (tests/integration/conftest.py) sets for the time of one test."""

    of: Address = staticmethod(sqlite)
