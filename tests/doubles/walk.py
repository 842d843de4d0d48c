"""A walk of docs/, carried out to the letter in a copy of the repository: its files, changes and commands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("wire_format", "service_kit", "cloud_bridge", "virtual_home", "tests")
BLOCK = re.compile(r"^```(python|toml|sh)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def copy_to(folder: Path) -> None:
    unwanted = shutil.ignore_patterns("__pycache__", ".*")
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", folder)


def change(folder: Path, block: str) -> None:
    """Do what the first line of a block says: a new file, or a change of one that there is."""
    first, body = block.split("\n", 1)
    if first.startswith("# new file: "):
        target = folder / first.removeprefix("# new file: ")
        assert not target.exists()
        target.write_text(body)
        return
    found = re.fullmatch(r"# (\S+), (?:below: (?P<below>.+)|in place of: (?P<instead>.+)|at the end)", first)
    assert found is not None, f"Nobody knows what to do with: {first}"
    path = folder / found[1]
    lines = path.read_text().splitlines(keepends=True)
    anchor = found["below"] or found["instead"]
    if anchor is None:
        lines.append(f"\n{body}")
    else:
        (at,) = [number for number, line in enumerate(lines) if line.rstrip("\n") == anchor]
        lines[at : at + 1] = [body] if found["instead"] else [lines[at], body]
    path.write_text("".join(lines))


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/python"
    # The copy's own packages, not those of the repository that the interpreter was set up for; each command
    # finds what the one before has compiled.
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(
        [sys.executable, *arguments, *(["-p", "no:cacheprovider"] if "pytest" in arguments else [])],
        cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip


def walk(guide: Path, folder: Path) -> list[tuple[str, str]]:
    """Carry out a guide in a new copy; return its commands, each with what it said."""
    copy_to(folder)
    said = []
    for language, block in BLOCK.findall(guide.read_text()):
        if language != "sh":
            change(folder, block)
            continue
        fails = block.startswith("# must fail\n")
        for command in block.removeprefix("# must fail\n").splitlines():
            done = run(folder, command)
            assert (done.returncode != 0) is fails, (command, done.stdout[-2000:], done.stderr[-2000:])
            said.append((command, done.stdout))
    return said
