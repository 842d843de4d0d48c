"""The house as it stands obeys its laws, and each law can be broken."""

import re
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from laws import (
    MAX_LINES,
    ROOT,
    Module,
    addresses,
    broad_excepts,
    cycles,
    function_lengths,
    imports,
    modules,
    unexplained_ignores,
    wrong_direction,
)

ALL = list(modules())


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_imports_go_the_allowed_way() -> None:
    assert [bad for module in ALL for bad in wrong_direction(module)] == []


def test_the_law_of_imports_can_be_broken() -> None:
    for name, line in (
        ("wire_format.x", "import edge_agent.app"),
        ("edge_agent.x", "from cloud_bridge import store"),
        ("device_drivers.x", "import bleak"),
        ("edge_agent.outer", "import sqlite3"),
        ("cloud_bridge.rules.x", "from cloud_bridge.store import base"),
        ("cloud_bridge.connectors.fhir_map", "import cloud_bridge.store.base"),
        ("cloud_bridge.delivery", "def f():\n    import httpx"),
    ):
        assert wrong_direction(Module(name, line)), (name, line)
    assert not wrong_direction(Module("cloud_bridge.connectors.fhir_r4", "import httpx"))
    assert not wrong_direction(Module("cloud_bridge.rules.x", "from cloud_bridge.rules.base import Reading"))


def test_no_import_cycle() -> None:
    assert cycles(ALL) == []
    circle = [
        Module("a", "import b"),
        Module("b", "if TYPE_CHECKING:\n    import c"),
        Module("c", "import a"),
    ]
    assert cycles(circle) == [["a", "b", "c", "a"]]


def test_no_file_is_too_long() -> None:
    long = {
        p.relative_to(ROOT): n
        for p in tracked()
        if p.suffix == ".py" and (n := p.read_text().count("\n")) > MAX_LINES
    }
    assert long == {}


def test_functions_are_short() -> None:
    lengths = sorted(n for module in ALL for n in function_lengths(module))
    assert lengths
    assert statistics.median(lengths) <= 12
    assert lengths[int(0.95 * (len(lengths) - 1))] <= 40
    assert function_lengths(Module("m", 'def f():\n    """Doc."""\n    a = 1\n    return a\n')) == [3]


def test_broad_excepts_say_why() -> None:
    assert [bad for module in ALL for bad in broad_excepts(module)] == []
    assert broad_excepts(Module("m", "try:\n    f()\nexcept Exception:\n    pass\n")) == ["m:3"]


def test_no_address_and_no_foreign_path_is_tracked() -> None:
    own = Path(__file__).parent
    found = [
        p for p in tracked() if own not in p.parents and _text(p) is not None and addresses(_text(p) or "")
    ]
    assert found == []
    option = "index"
    assert addresses(f"--{option}-url x")


def test_no_private_key_is_tracked() -> None:
    pattern = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY")
    own = Path(__file__)
    assert [p for p in tracked() if p != own and pattern.search(_text(p) or "")] == []


def test_locks_pin_by_hash() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert [p.stem for p in locks] == ["bench", "bridge", "cwt", "demo", "dev", "edge", "fhir-server"]
    for lock in locks:
        packages = re.findall(r"^[a-z0-9].*$", lock.read_text(), re.MULTILINE)
        assert packages
        assert all("==" in line and line.endswith("\\") for line in packages), lock


def test_a_lock_is_installed_without_resolving() -> None:
    """An older pip takes an extra of what a lock pins in the newest release, and fails when there is one."""
    text = "\n".join(
        _text(p) or "" for p in tracked() if p.suffix in {".sh", ".md", ".service"} or p.name == "Makefile"
    )
    installs = re.findall(r"^.*\binstall\b.*--require-hashes.*$", text, re.MULTILINE)
    assert len(installs) == 3, "the Makefile, the check of extras and the guide"
    assert [line for line in installs if "--no-deps" not in line] == []


def test_every_lint_ignore_is_explained() -> None:
    assert unexplained_ignores((ROOT / "pyproject.toml").read_text()) == []
    assert unexplained_ignores('ignore = [\n    "D105",\n]') == ['"D105",']


def test_no_test_may_take_longer_than_the_last_resort_waits() -> None:
    """The last resort ends the whole run: before it, each test's own limit must have ended that test."""
    found = re.search(r"^faulthandler_timeout = (\d+)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert found
    own = [
        re.findall(r"pytest\.mark\.timeout\((\d+)\)", _text(p) or "") for p in tracked() if p.suffix == ".py"
    ]
    assert max(int(limit) for limits in own for limit in limits) < int(found[1])


def test_coverage_is_not_counted_outside_the_unit_tests() -> None:
    """A second counter that goes on unread made the tests take half as long again (see tests/conftest.py)."""
    tracer = sys.gettrace()
    assert tracer is None or "coverage" not in type(tracer).__module__


def test_the_parser_of_imports_sees_all_forms() -> None:
    source = "import a.b\nfrom c import d\ndef f():\n    import e\n"
    assert imports(Module("m", source)) == {"a.b", "c", "c.d", "e"}


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return None
