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
    if not _file(folder).exists():
        begin(folder, _migrated())
    return f"sqlite:///{_file(folder)}"


def begin(folder: Path, content: bytes) -> None:
    """Let the database of a folder begin with what `written` gave."""
    file = _file(folder)
    file.touch(0o600, exist_ok=False)
    file.write_bytes(content)


def written(work: Callable[[Path], None]) -> bytes:
    """The database of a folder where `work` is done, to begin others with."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work(folder)
        assert list(folder.iterdir()) == [_file(folder)], "it is all in the file"
        return _file(folder).read_bytes()


@cache
def _migrated() -> bytes:
    return written(lambda folder: open_engine(f"sqlite:///{_file(folder)}").dispose())


def _file(folder: Path) -> Path:
    return folder / "bridge.sqlite"


class Databases:
    """What `each_engine` (tests/integration/conftest.py) sets for the time of one test."""

    of: Address = staticmethod(sqlite)
