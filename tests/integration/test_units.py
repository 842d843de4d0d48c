"""What the units deny, the programs do not need: each is traced from its start until it says so."""

import os
import re
import shutil
import signal
import socket
import subprocess
from functools import cache
from pathlib import Path

import pytest

from service_kit.key_files import write_private, write_public
from wire_format.keys import BridgeKeys, GatewayKeys

ROOT = Path(__file__).resolve().parents[2]
READY_S = 60.0
"""To import everything under a tracer takes long."""

DENIALS = {"ProtectClock": "@clock", "ProtectKernelModules": "@module"}
ONLY_AS_ROOT = {"fchown"}
"""SQLite gives its files to the database's owner, if it is root; the services are not."""

TAIL = """
[broker]
host = "127.0.0.1"
port = 1
"""
CONFIGURATION = {
    "edge-agent": 'site = "ward"\ngateway = "gw-1"\nstate = "{folder}/state"\n'
    '[keys]\ngateway = "{folder}/gateway.key"\nhospital = "{folder}/hospital.pub"\n' + TAIL,
    "cloud-bridge": 'site = "ward"\nstate = "{folder}/state"\n'
    '[keys]\nbridge = "{folder}/bridge.key"\n' + TAIL + "[page]\nport = 0\n",
}


def needed(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: `make test` names what to install")


@cache
def calls_of(group: str) -> frozenset[str]:
    """The system calls of a group, as systemd expands it; a call is its own group."""
    if not group.startswith("@"):
        return frozenset({group})
    command = ["systemd-analyze", "--no-pager", "syscall-filter", group]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    names = [line.strip() for line in said.splitlines()[1:] if line.strip() and "#" not in line]
    return frozenset().union(*(calls_of(name) for name in names))


def allowed_calls(unit: str) -> frozenset[str]:
    allowed: frozenset[str] = frozenset()
    for line in re.findall(r"^SystemCallFilter=(.+)$", unit, re.MULTILINE):
        named = frozenset().union(*(calls_of(name) for name in line.removeprefix("~").split()))
        allowed = allowed - named if line.startswith("~") else allowed | named
    for option, group in DENIALS.items():
        if f"\n{option}=yes\n" in unit:
            allowed -= calls_of(group)
    return allowed


def started(program: str, folder: Path) -> str:
    """Trace a program until it says READY=1 to whoever started it; return what the kernel was asked."""
    write_private(folder / "gateway.key", GatewayKeys.generate())
    bridge = BridgeKeys.generate()
    write_private(folder / "bridge.key", bridge)
    write_public(folder / "hospital.pub", bridge.public)
    (folder / "toml").write_text(CONFIGURATION[program].format(folder=folder))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(READY_S)
        command = ["strace", "-f", "-qq", "-s", "200", "-o", str(folder / "trace")]
        process = subprocess.Popen(
            [*command, str(ROOT / ".venv" / "bin" / program), "run", "--config", str(folder / "toml")],
            env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify")},
            start_new_session=True,
        )
        try:
            assert systemd.recv(100) == b"READY=1"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(READY_S)
    return (folder / "trace").read_text(errors="replace")


@pytest.mark.parametrize("program", ["edge-agent", "cloud-bridge"])
def test_a_program_needs_nothing_that_its_unit_denies(program: str, tmp_path: Path) -> None:
    needed("strace", "systemd-analyze")
    unit = (ROOT / "systemd" / f"kiteline-{program}.service").read_text()
    trace = started(program, tmp_path)
    made = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace, re.MULTILINE))
    assert len(made) > 40
    assert made - allowed_calls(unit) - ONLY_AS_ROOT == set()
    if "\nProcSubset=pid\n" in unit:
        assert re.findall(r'"(/proc/(?!self/|thread-self/|\d+/)[^"]+)"', trace) == []
    assert "\nMemoryDenyWriteExecute=yes\n" in unit
    assert re.findall(r"^.*(?:PROT_WRITE\|PROT_EXEC|mprotect\(.*PROT_EXEC).*$", trace, re.MULTILINE) == []


def test_a_unit_that_denies_too_much_is_found() -> None:
    needed("systemd-analyze")
    unit = "[Service]\nProtectClock=no\nSystemCallFilter=@system-service\nSystemCallFilter=~@resources\n"
    assert {"read", "connect"} <= allowed_calls(unit)
    assert not {"setpriority", "clock_adjtime", "mount"} & allowed_calls(unit)
    more = unit + "SystemCallFilter=clock_adjtime\n"
    assert "clock_adjtime" in allowed_calls(more)
    assert "clock_adjtime" not in allowed_calls(more.replace("=no", "=yes"))
