"""A PostgreSQL server of the tests' own: on a UNIX socket in a temporary folder, ended by its pid."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from cloud_bridge.store import access_schema
from cloud_bridge.store.engine import open_engine
from cloud_bridge.store.migrations import versions

ROLE: Final = "kiteline"
_TEMPLATE: Final = "migrated"
_TABLES: Final = ", ".join(f'"{name}"' for name in access_schema.metadata.tables)
_HEAD: Final = max(path.name.split("_")[0] for path in Path(versions.__path__[0]).glob("0*.py"))
_END_OTHERS: Final = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
# It refuses to run as root, and then as whom it runs must be able to read its folder.
_NOT_ROOT: Final = "nobody"
# A zone that is not UTC: whoever forgets it is eight hours wrong. Nothing here must outlive a power cut.
_SETTINGS: Final = (
    "listen_addresses=",
    "TimeZone=Asia/Shanghai",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=60",
    "shared_buffers=32MB",
)


def programs() -> Path | None:
    """Where the server's programs are: on the path, or where Debian puts them; None if nowhere."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def require_postgres() -> Path:
    """Skip by name where there is none."""
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is missing: apt-get install postgresql")
    return found


@dataclass
class Postgres:
    """A running server. Each folder of a test is a database of its own."""

    folder: Path
    process: subprocess.Popen[bytes]
    _in_use: dict[Path, str] = field(default_factory=dict)
    _free: list[str] = field(default_factory=list)
    _made: int = 0

    def url(self, name: str) -> str:
        """The address of a database, in SQLAlchemy's form."""
        return f"postgresql://{ROLE}@/{name}?host={self.folder}"

    def create(self, name: str, template: str = "template0") -> str:
        """Make a database, and return its address."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self.url(name)

    def of(self, folder: Path) -> str:
        """The database of a folder, empty and with the current schema when it is first asked for."""
        if folder not in self._in_use:
            self._in_use[folder] = self._free.pop() if self._free else self._another()
        return self.url(self._in_use[folder])

    def _another(self) -> str:
        if not self._made:
            open_engine(self.create(_TEMPLATE)).dispose()
        self._made += 1
        name = f"desk_{self._made}"
        self.create(name, _TEMPLATE)
        return name

    def take_back(self) -> None:
        """Empty the databases that a test had: making new ones costs a disk many files."""
        for name in self._in_use.values():
            with self.connect(name) as connection:
                # What a test left open would hold its locks.
                connection.execute(_END_OTHERS)
                connection.execute(f"TRUNCATE {_TABLES} RESTART IDENTITY CASCADE".encode())
                connection.execute("UPDATE alembic_version SET version_num = %s", (_HEAD,))
        self._free += self._in_use.values()
        self._in_use.clear()

    def connect(self, name: str) -> psycopg.Connection[Any]:
        """A connection past the bridge."""
        return psycopg.connect(host=str(self.folder), dbname=name, user=ROLE, autocommit=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server; skip by name where there is none."""
    bin_folder = require_postgres()
    with tempfile.TemporaryDirectory(prefix="kiteline-pg-") as name:
        folder = Path(name)
        who = _who(folder)
        data = folder / "data"
        made = [bin_folder / "initdb", "--pgdata", data, "--username", ROLE, "--auth=trust", "--no-sync"]
        subprocess.run([*made, "--encoding=UTF8", "--locale=C"], check=True, capture_output=True, **who)
        settings = [part for one in _SETTINGS for part in ("-c", one)]
        with (folder / "log").open("wb") as log:
            argv = [bin_folder / "postgres", "-D", data, "-k", folder, *settings]
            process = subprocess.Popen(argv, stdout=log, stderr=log, **who)
        try:
            server = Postgres(folder, process)
            _wait(server)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nobody comes back to these files
            process.wait(20)


def _who(folder: Path) -> dict[str, Any]:
    if os.geteuid() != 0:
        return {"cwd": folder}
    entry = pwd.getpwnam(_NOT_ROOT)
    os.chown(folder, entry.pw_uid, entry.pw_gid)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": [], "cwd": folder}


def _wait(server: Postgres) -> None:
    until = time.monotonic() + 30
    while True:
        try:
            server.connect("postgres").close()
        except psycopg.OperationalError:
            assert server.process.poll() is None, (server.folder / "log").read_text()
            assert time.monotonic() < until, (server.folder / "log").read_text()
            time.sleep(0.05)
        else:
            return
