"""A whole street in one folder: broker, hospital, bridge, and a home with its devices and its agent.

Each is a process of its own, started and ended by pid; everything binds loopback.
"""

import asyncio
import datetime as dt
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID, uuid5

from cloud_bridge.page_links import PageLinks
from device_drivers.profile import load_profiles
from service_kit.key_files import write_private, write_public
from virtual_home.home import HomeControl
from virtual_home.hospital import Desk
from virtual_home.processes import Program, free_port
from virtual_home.scenario import DeviceEntry, Scenario
from virtual_home.servers import broker, fhir_server
from wire_format.errors import KitelineError, Misconfigured, Unreachable
from wire_format.keys import BridgeKeys, GatewayKeys

SITE: Final = "ward"
GATEWAY: Final = "gw-1"
GATEWAY_SYSTEM_ID: Final = "dca632fffe010203"
HOSPITAL: Final = "https://hospital.example/id"
LONGEST_SOCKET_PATH: Final = 100
POLL_S: Final = 0.02
_NAMESPACE: Final = UUID("6f2f7a52-7c0d-4c1b-9a0f-5a2f5f6d2f11")

_AGENT: Final = """\
site = "{site}"
gateway = "{gateway}"
state = "{folder}/home/state"
radio = {{ virtual = "unix:{folder}/radio" }}

[keys]
gateway = "{folder}/home/gateway.key"
hospital = "{folder}/home/hospital.pub"

[broker]
host = "127.0.0.1"
port = {port}
longest_pause_s = 0.5

[retransmission]
first_s = {resend_s}

[clock]
vouched_uncertainty_ms = 5
boot_id = "{boot_id}"
zone_offset_minutes = {zone}

[visits]
rest_s = 0.5
longest_rest_s = 2
# A virtual adapter holds more links than a real one.
links = 16

[profiles]
enable = {enable}
"""

_DEVICE: Final = """
[[device]]
address = "{address}"
person = "{person}"
since = {since}
"""

_ASKING: Final = ("composition_scale", "beurer_scale")
_CONSENT: Final = "slot = {slot}\nconsent_code = {code}\n"

_BRIDGE: Final = """\
site = "{site}"
state = "{folder}/bridge"
staff_language = "{language}"
zone = "Asia/Shanghai"
claim_s = 10

[keys]
bridge = "{folder}/bridge/bridge.key"

[broker]
host = "127.0.0.1"
port = {port}
longest_pause_s = 0.5

# Everybody here is made up, and the page goes with the demonstration: a link is enough.
[page]
port = {page}
sign_in = "link"

[fhir]
base_url = "{fhir}"
test_data = true
poll_s = 0.5
"""

_ENROLMENT: Final = """\
[gateway]
name = "{gateway}"
keys = "gateway.pub"
system_id = "{system_id}"
"""

_PERSON: Final = """
[[person]]
pseudonym = "{person}"
patient = "patient-{person}"
language = "{language}"
identifier = {{ system = "{hospital}/patient", value = "{person}" }}
nurse = {{ system = "{hospital}/staff", value = "nurse-1" }}
physician = {{ system = "{hospital}/staff", value = "physician-1" }}
organization = {{ system = "{hospital}/organization", value = "ward-1" }}
"""


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step of the path, as a process wrote it. `monotonic_ns` is one clock for all processes."""

    process: str
    step: str
    facts: dict[str, Any]
    monotonic_ns: int
    hit: bool


@dataclass
class Lab:
    """Everything of one folder. Use as `async with Lab(...) as lab`."""

    folder: Path
    scenario: Scenario
    language: str = "en"
    resend_s: float = 2.0
    programs: list[Program] = field(default_factory=list)
    _steps: list[StepLine] = field(default_factory=list)
    _read: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Write every file that the processes need; keys are made once."""
        if len(str(self.folder / "control")) > LONGEST_SOCKET_PATH:
            raise Misconfigured(f"{self.folder} is too long a path for a socket: choose a shorter one.")
        for name in ("home", "bridge", "hospital"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.page_port = free_port()
        self.broker, self.broker_port = broker(self.folder / "broker")
        self.hospital, self.fhir_url = fhir_server(self.folder / "hospital")
        self._make_keys()
        self._write_configuration()
        self.devices = self._devices()
        self.bridge = self._launched("bridge", "bridge_started")
        self.agent = self._launched("agent", "agent_started")
        self.control: HomeControl | None = None

    # --- life ---

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except (KitelineError, OSError, ValueError, asyncio.CancelledError):
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything; what does not need another starts beside it."""
        await asyncio.gather(self.broker.start(), self.hospital.start(), self.devices.start())
        self.control = await HomeControl.connect(self.folder / "control")
        await asyncio.gather(self.enrol(), self._admit())
        # The bridge first: what homes send before it ever subscribed, the broker keeps for nobody.
        await self.bridge.start()
        await self.agent.start()

    async def stop(self) -> None:
        """End everything that was started, the newest first."""
        if self.control is not None:
            await self.control.close()
            self.control = None
        await asyncio.gather(self.agent.stop(), self.bridge.stop())
        await asyncio.gather(self.devices.stop(), self.broker.stop(), self.hospital.stop())

    @property
    def home(self) -> HomeControl:
        """The devices' control; raises `Misconfigured` before `start`."""
        if self.control is None:
            raise Misconfigured("The devices were not started.")
        return self.control

    @property
    def database(self) -> Path:
        """The bridge's record."""
        return self.folder / "bridge" / "bridge.sqlite"

    async def enrol(self) -> None:
        """Enrol the home at the bridge."""
        enrolment = str(self.folder / "home" / "enrolment.toml")
        await _run("cloud_bridge.cli", "enrol", enrolment, "--config", str(self.folder / "bridge.toml"))

    async def ask_again(self) -> None:
        """Ask the home to send everything again, as an administrator does."""
        await _run("cloud_bridge.cli", "resend", GATEWAY, "--config", str(self.folder / "bridge.toml"))

    async def home_status(self) -> dict[str, Any]:
        """Return what `edge-agent status` says of the home's outbox."""
        status: dict[str, Any] = json.loads(
            await _run("edge_agent.cli", "status", "--config", str(self.folder / "agent.toml"))
        )
        return status

    # --- what happened ---

    def steps(self) -> list[StepLine]:
        """Return every step so far of agent and bridge, in the order of time."""
        for name in ("agent", "bridge"):
            self._read_on(self.folder / f"{name}.steps")
        self._steps.sort(key=lambda s: s.monotonic_ns)
        return list(self._steps)

    def _read_on(self, path: Path) -> None:
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            # A line that is being written is taken the next time.
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._read[path] = self._read.get(path, 0) + len(whole) + 1
            self._steps += [_step(line) for line in whole.split(b"\n")]

    def hits(self) -> list[StepLine]:
        """Return the kills that struck."""
        return [line for line in self.steps() if line.hit]

    async def until(self, true: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
        """Wait until something holds; raise `Unreachable` naming it, with the ends of the logs."""
        try:
            async with asyncio.timeout(timeout_s):
                while not true():  # noqa: ASYNC110 - what is waited for lies in other processes
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            ends = "\n".join(f"--- {p.name}\n{p.tail()}" for p in (self.agent, self.bridge))
            raise Unreachable(f"It did not happen within {timeout_s:g} s: {what}.\n{ends}") from None

    def arm(self, process: str, step: str, pid: int = 0) -> None:
        """Let the next `step` of `process` end a process with SIGKILL (0: itself)."""
        path = self.folder / "arm"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"process": process, "step": step, "pid": pid}))
        draft.rename(path)

    def page_link(self) -> str:
        """Return a link that opens the page once."""
        token = PageLinks(self.folder / "bridge" / "page-links").make()
        return f"http://127.0.0.1:{self.page_port}/enter?token={token}"

    # --- set-up ---

    async def _admit(self) -> None:
        """Let the hospital know those whom it looks after, and those who do."""
        async with Desk(self.fhir_url) as desk:
            for person in {device.person for device in self.scenario.devices}:
                await desk.know("Patient", f"{HOSPITAL}/patient", person)
            for staff in ("nurse-1", "physician-1"):
                await desk.know("Practitioner", f"{HOSPITAL}/staff", staff)
            await desk.know("Organization", f"{HOSPITAL}/organization", "ward-1")

    def _make_keys(self) -> None:
        home, bridge = self.folder / "home", self.folder / "bridge"
        if (home / "gateway.key").exists():
            return
        gateway_keys, bridge_keys = GatewayKeys.generate(), BridgeKeys.generate()
        write_private(home / "gateway.key", gateway_keys)
        write_public(home / "gateway.pub", gateway_keys.public)
        write_private(bridge / "bridge.key", bridge_keys)
        write_public(home / "hospital.pub", bridge_keys.public)

    def _write_configuration(self) -> None:
        values = {
            "site": SITE,
            "gateway": GATEWAY,
            "folder": self.folder,
            "port": self.broker_port,
            "page": self.page_port,
            "fhir": self.fhir_url,
            "language": self.language,
            "boot_id": uuid5(_NAMESPACE, str(self.scenario.seed)),
            "zone": self.scenario.zone_offset_minutes,
            "resend_s": self.resend_s,
            "system_id": GATEWAY_SYSTEM_ID,
            "hospital": HOSPITAL,
            # Virtual devices show profiles that no real one was ever seen with.
            "enable": json.dumps([p.name for p in load_profiles().values() if not p.on_by_default]),
        }
        since = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).isoformat()
        devices = self.scenario.devices
        agent = _AGENT.format(**values) + "".join(_section(device, since) for device in devices)
        people = sorted({device.person for device in devices})
        enrolment = _ENROLMENT.format(**values) + "".join(_PERSON.format(person=p, **values) for p in people)
        (self.folder / "agent.toml").write_text(agent)
        (self.folder / "bridge.toml").write_text(_BRIDGE.format(**values))
        (self.folder / "home" / "enrolment.toml").write_text(enrolment)
        (self.folder / "scenario.json").write_text(self.scenario.model_dump_json())

    def _devices(self) -> Program:
        control = self.folder / "control"
        command = ["-m", "virtual_home.cli", "devices"]
        places = ["--radio", str(self.folder / "radio"), "--control", str(control)]
        what = ["--scenario", str(self.folder / "scenario.json")]

        async def ready() -> bool:
            return control.exists()

        return self._program("devices", [*command, *places, *what], ready)

    def _launched(self, name: str, says: str) -> Program:
        files = ["--config", f"{name}.toml", "--steps", f"{name}.steps", "--arm", "arm"]
        paths = [part if part.startswith("--") else str(self.folder / part) for part in files]

        async def ready() -> bool:
            return says in program.printed()

        program = self._program(name, ["-m", "virtual_home.launch", name, *paths], ready)
        return program

    def _program(self, name: str, arguments: Sequence[str], ready: Any) -> Program:  # noqa: ANN401 - as Program has it
        made = Program(name, [sys.executable, *arguments], log=self.folder / f"{name}.log", ready=ready)
        self.programs.append(made)
        return made


async def _run(module: str, *arguments: str) -> str:
    """Run a command line of ours; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:  # we are being ended
            process.kill()
            await process.wait()
    if process.returncode:
        raise Unreachable(f"{module} {arguments[0]}: {err.decode().strip()}")
    return out.decode()


def _step(line: bytes) -> StepLine:
    said = json.loads(line)
    return StepLine(
        said["process"],
        said.get("step") or said["hit"],
        said.get("facts", {}),
        said["monotonic_ns"],
        "hit" in said,
    )


def _section(device: DeviceEntry, since: str) -> str:
    """Return what the home configures of a device: whose it is, and the consent code if it asks for one."""
    section = _DEVICE.format(address=device.address, person=device.person, since=since)
    if device.kind not in _ASKING:
        return section
    return section + _CONSENT.format(slot=device.slot, code=device.consent_code)
