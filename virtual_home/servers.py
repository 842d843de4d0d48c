"""The servers that a hospital has: a real MQTT broker and a real FHIR server, each on a loopback port."""

import os
import shutil
from pathlib import Path
from typing import Final

import httpx

from virtual_home.processes import Program, accepts, free_port
from wire_format.errors import Misconfigured

ROOT: Final = Path(__file__).resolve().parent.parent

# clean_start=False on the clients and these two lines are what makes a session outlive kill -9.
_BROKER: Final = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
autosave_on_changes true
autosave_interval 1
max_queued_messages 0
max_inflight_messages 100
log_dest stderr
"""


def _mosquitto() -> tuple[str, dict[str, str]]:
    """Return the broker's program and the environment it needs (unpacked packages need their libraries)."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found:
        return found, {}
    unpacked = ROOT / ".cache" / "mosquitto"
    program = unpacked / "usr" / "sbin" / "mosquitto"
    if not program.exists():
        raise Misconfigured("The broker mosquitto is not installed: run `sudo apt-get install mosquitto`.")
    libraries = sorted({str(p.parent) for p in (unpacked / "usr" / "lib").rglob("*.so*")})
    return str(program), {"LD_LIBRARY_PATH": ":".join(libraries)}


def broker(folder: Path, port: int | None = None) -> tuple[Program, int]:
    """Return a mosquitto that keeps its sessions in `folder`, and its port. Not yet started."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = folder / "mosquitto.conf"
    config.write_text(_BROKER.format(port=port, folder=folder))
    if os.geteuid() == 0:
        # As root it would change to the user mosquitto, who may not write here.
        config.write_text(config.read_text() + "user root\n")
    program, env = _mosquitto()
    started = Program(
        "broker",
        [program, "-c", str(config)],
        log=folder / "broker.log",
        env=env,
        ready=lambda: accepts(port),
    )
    return started, port


def _sekmet() -> str:
    named = os.environ.get("KITELINE_SEKMET")
    program = Path(named) if named else ROOT / ".venv-fhir" / "bin" / "sekmet"
    if not program.exists():
        raise Misconfigured(
            "The FHIR server sekmet-fhir is not installed: `make demo` and `make test` install it."
        )
    return str(program)


def fhir_server(folder: Path, port: int | None = None) -> tuple[Program, str]:
    """Return the hospital's FHIR R4 server with its data in `folder`, and its base URL. Not yet started."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    base = f"http://127.0.0.1:{port}/fhir"
    settings = folder / "settings.yaml"
    # Its simulator invents patients of its own; a hospital under test has only what it was sent.
    settings.write_text("simulator:\n  enabled: false\n")

    async def ready() -> bool:
        if not await accepts(port):
            return False
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                return (await client.get(f"{base}/metadata")).is_success
        except httpx.HTTPError:
            return False

    started = Program(
        "fhir-server",
        [_sekmet(), "serve", "-c", str(settings), "--host", "127.0.0.1", "--port", str(port)],
        log=folder / "fhir-server.log",
        env={"SEKMET_DB": str(folder / "fhir.sqlite"), "SEKMET_BASE_URL": base},
        cwd=folder,
        ready=ready,
    )
    return started, base
