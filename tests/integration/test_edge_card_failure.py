"""A card that fails: the kernel itself refuses to sync, injected into a real process."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.outbox import VISITS_PER_FILE, Outbox

WRITER = """
import sys
from pathlib import Path
from edge_agent.outbox import Outbox
from edge_agent.outbox_file import Advance, Fingerprint
from wire_format.envelope import Sealed, digest_of
from uuid import UUID

box = Outbox(Path(sys.argv[1]), "gw-1")
box.take_visit_number()
for n in range(6):
    data = b"envelope %d" % n
    mark = Fingerprint(UUID(int=n), b"x")
    seal = lambda header: Sealed(data, digest_of(data))
    keys = box.append([seal], fingerprints=[mark], advance=Advance(UUID(int=9), n, n))
    print(keys[0].outbox_id, keys[0].sequence, flush=True)
assert all(box.has_fingerprint(Fingerprint(UUID(int=n), b"x")) for n in range(6))
print("visit", box.take_visit_number(), "failures", len(box.failures), flush=True)
"""


def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed: `sudo apt-get install strace`")
    return found


def write(folder: Path, traced: str, inject: str) -> subprocess.CompletedProcess[str]:
    """Write into an outbox that exists, in a process whose system calls fail as `inject` says."""
    Outbox(folder / "outbox", "gw-1").close()
    trace = ["-f", "-qq", "-o", str(folder / "trace"), "-e", f"trace={traced}", "-e", inject]
    return subprocess.run(
        [strace(), *trace, sys.executable, "-c", WRITER, str(folder / "outbox")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )


@pytest.mark.parametrize("which", [5, 6, 7, 8])
def test_one_failed_sync_begins_a_new_file_and_loses_nothing(tmp_path: Path, which: int) -> None:
    done = write(tmp_path, "fdatasync,fsync", f"inject=fdatasync,fsync:error=EIO:when={which}")
    assert done.returncode == 0, done.stderr
    assert "EIO" in (tmp_path / "trace").read_text()
    *kept, last = done.stdout.splitlines()
    said = {(outbox_id, sequence) for outbox_id, sequence in map(str.split, kept)}
    assert len({outbox_id for outbox_id, _ in said}) == 2
    assert last.split()[-1] == "1"
    assert int(last.split()[1]) > VISITS_PER_FILE
    box = Outbox(tmp_path / "outbox", "gw-1")
    assert said <= {(str(key.outbox_id), str(key.sequence)) for key in box.unsettled()}
    assert len(list((tmp_path / "outbox").glob("*.sqlite"))) == 2
    contents = {box.load(key) for key in box.unsettled()}
    assert {b"envelope %d" % n for n in range(6)} <= contents


def test_a_card_that_is_full_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    done = write(tmp_path, "pwrite64", "inject=pwrite64:error=ENOSPC:when=40+")
    assert done.returncode == 1
    assert "OutboxFull" in done.stderr
    kept = [tuple(line.split()) for line in done.stdout.splitlines()]
    assert kept
    box = Outbox(tmp_path / "outbox", "gw-1")
    assert [(str(key.outbox_id), str(key.sequence)) for key in box.unsettled()] == kept
