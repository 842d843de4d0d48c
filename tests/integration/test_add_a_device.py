"""The page for newcomers, carried out in a copy of the tree: its files, its commands, and nothing else."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "add_a_device.md").read_text()
CONFORMING, _, WITH_CODE = PAGE.partition("## A device that needs code")

FILE = re.compile(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^In `(\S+)`, one import.*?^```python\n(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GENERATED = "docs/supported_devices.md"


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and ".venv" not in p.parts and not {"__pycache__", ".ruff_cache"} & set(p.parts)
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what is tracked, with this environment."""
    folder = tmp_path_factory.mktemp("tree")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, names.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    # The laws of the house look at what is tracked.
    for argv in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", *argv], cwd=folder, check=True)
    yield folder
    shutil.rmtree(folder)


def run(tree: Path, command: str) -> subprocess.CompletedProcess[str]:
    # The copy's own code, not that of the tree which the environment is of; compiled once for all commands.
    env = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": ""}
    argv = [*command.split(), *(["-p", "no:cacheprovider"] if " -m pytest " in command else [])]
    return subprocess.run(argv, cwd=tree, env=env, check=False, capture_output=True, text=True, timeout=100)


def carry_out(tree: Path, part: str) -> set[str]:
    """Write the files of a part of the page, run its commands; return what changed in the tree."""
    before = hashes(tree)
    for name, content in FILE.findall(part):
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(content)
    for name, imported, row in ROW.findall(part):
        add_row(tree / name, imported, row)
    for block in COMMANDS.findall(part):
        for command in block.splitlines():
            done = run(tree, command)
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    after = hashes(tree)
    return {name for name in {*before, *after} if before.get(name) != after.get(name) and ".git/" not in name}


def add_row(path: Path, imported: str, row: str) -> None:
    text = path.read_text()
    text = re.sub(r"^(?=from device_drivers\.drivers)", f"{imported}\n", text, count=1, flags=re.MULTILINE)
    path.write_text(re.sub(r"^(DRIVERS: .*\n)", rf"\1{row}", text, count=1, flags=re.MULTILINE))


def test_the_page_has_what_the_walk_needs() -> None:
    assert len(FILE.findall(CONFORMING)) == 2
    assert len(FILE.findall(WITH_CODE)) == 3
    assert len(ROW.findall(WITH_CODE)) == 1
    (profile, *_) = [content for name, content in FILE.findall(CONFORMING) if name.endswith(".toml")]
    assert len(profile.splitlines()) <= 27
    assert [len(COMMANDS.findall(part)) for part in (CONFORMING, WITH_CODE)] == [2, 1]


@pytest.mark.timeout(300)
def test_a_conforming_cuff_is_two_files_and_no_other_is_touched(tree: Path) -> None:
    assert carry_out(tree, CONFORMING) == {
        "firmware_profiles/acme/cuff_200.toml",
        "firmware_profiles/acme/cuff_200.capture.json",
        GENERATED,
    }
    capture = tree / "firmware_profiles" / "acme" / "cuff_200.capture.json"
    right = capture.read_text()
    assert '"systolic": "192 mm[Hg]"' in right
    assert '"mean_arterial": "absent: not_measured"' in right
    capture.write_text(right.replace('"192 mm[Hg]"', '"193 mm[Hg]"'))
    replayed = run(tree, f".venv/bin/edge-agent replay {capture}")
    assert "systolic is '192 mm[Hg]', not '193 mm[Hg]'" in replayed.stderr
    assert replayed.returncode == 1
    suite = run(tree, ".venv/bin/python -m pytest -q tests/conformance/test_profiles.py -k acme/cuff_200")
    assert (suite.returncode, "test_a_session_gives_what_it_expects" in suite.stdout) == (1, True)
    capture.write_text(right)


@pytest.mark.timeout(300)
def test_a_device_that_needs_code_is_a_profile_a_file_and_a_row(tree: Path) -> None:
    assert carry_out(tree, WITH_CODE) == {
        "firmware_profiles/acme/dot.toml",
        "firmware_profiles/acme/dot.capture.json",
        "device_drivers/drivers/acme_dot.py",
        "device_drivers/catalogue.py",
        GENERATED,
    }
    driver = tree / "device_drivers" / "drivers" / "acme_dot.py"
    right = driver.read_text()
    driver.write_text(right.replace('"big"', '"little"'))
    suite = run(tree, ".venv/bin/python -m pytest -q tests/conformance/test_profiles.py -k acme/dot")
    assert (suite.returncode, "test_a_session_gives_what_it_expects" in suite.stdout) == (1, True)
    driver.write_text(right)


def test_a_page_that_is_stale_is_red(tree: Path) -> None:
    page = tree / GENERATED
    right = page.read_text()
    page.write_text(right.replace("Beurer BM85", "Beurer BM86"))
    done = run(tree, ".venv/bin/python -m pytest -q tests/unit/test_supported_devices.py")
    assert (done.returncode, "run `make docs`" in done.stdout) == (1, True)
    page.write_text(right)
