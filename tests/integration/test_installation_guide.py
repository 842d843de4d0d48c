"""The installation guide leads to a page to sign in to: its commands in order, beside a bridge that runs."""

import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest

from service_kit.key_files import write_public
from tests.doubles.command_line import cloud_bridge
from tests.doubles.edge_hospital import eventually
from tests.doubles.edge_readings import gateway_keys
from tests.unit.test_installation import FILES, GUIDE
from virtual_home.processes import Program, accepts, free_port

PASSWORD = "a long enough one"  # noqa: S105 - of nobody
COMMANDS = [
    line.split()[1:]
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.DOTALL)
    for line in block.splitlines()
]


def configured(folder: Path, port: int, page: str = "") -> Path:
    """Write the guide's files, with places of this folder; broker and FHIR server are away."""
    text = FILES["cloud-bridge"].replace("port = 8600\n", f"port = {port}\n{page}")
    text = text[: text.index("[fhir]")].replace("port = 1883", f"port = {free_port()}")
    text = text.replace("/run/credentials/kiteline-cloud-bridge.service", str(folder))
    path = folder / "cloud-bridge.toml"
    path.write_text(text.replace("/var/lib/kiteline-bridge", str(folder / "state")))
    (folder / "home.toml").write_text(FILES["enrolment"])
    write_public(folder / "gateway.pub", gateway_keys().public)
    return path


@asynccontextmanager
async def bridge(config: Path, port: int) -> AsyncIterator[Program]:
    command = [sys.executable, "-m", "cloud_bridge.cli", "run", "--config", str(config)]
    one = Program("bridge", command, log=config.with_suffix(".log"), ready=lambda: accepts(port))
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


def told(folder: Path, words: list[str]) -> str:
    """Run a command of the guide; its password comes from a file, as nobody is at the terminal."""
    asked = ["--password-file", str(folder / "password")] if words[:2] == ["account", "add"] else []
    placed = [str(folder / word) if word.endswith(".toml") else word for word in words]
    done = cloud_bridge(*placed, *asked, "--config", str(folder / "cloud-bridge.toml"))
    assert done.returncode == 0, done.stderr
    return done.stdout


async def entered(http: httpx.AsyncClient, made: dict[str, str]) -> str:
    """Sign in as an account that `account add` made, with the code of an app that took its address."""
    form = (await http.get("/")).text
    assert 'action="/sign-in"' in form
    (csrf,) = re.findall(r'name="csrf" value="([^"]+)"', form)
    (secret,) = parse_qs(urlsplit(made["authenticator"]).query)["secret"]
    fields = {"csrf": csrf, "name": made["account"], "password": PASSWORD, "code": pyotp.TOTP(secret).now()}
    answer = await http.post("/sign-in", data=fields)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_who_follows_the_guide_can_sign_in(tmp_path: Path) -> None:
    port = free_port()
    made = cloud_bridge("keys", "--private", f"{tmp_path}/bridge.key", "--public", f"{tmp_path}/hospital.pub")
    assert made.returncode == 0
    (tmp_path / "password").write_text(PASSWORD + "\n")
    async with bridge(configured(tmp_path, port), port) as running:
        said = [told(tmp_path, words) for words in COMMANDS]
        assert json.loads(said[0]) == {"gateway": "gw-1", "people": 1}
        accounts = [one for one in map(json.loads, said) if "account" in one]
        assert [one["account"] for one in accounts] == ["it-1", "nurse-1"]
        for one in accounts:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", follow_redirects=True) as http:
                page = await entered(http, one)
                assert one["account"] in page
                assert 'action="/sign-in"' not in page
        assert "page_without_accounts" not in running.printed()
        links = cloud_bridge("link", "--config", str(tmp_path / "cloud-bridge.toml"))
        assert (links.returncode, "people sign in" in links.stderr) == (2, True)


@pytest.mark.parametrize(("test_data", "warns"), [(None, True), (False, True), (True, False)])
async def test_a_page_without_accounts_is_warned_of(
    tmp_path: Path, *, test_data: bool | None, warns: bool
) -> None:
    port = free_port()
    cloud_bridge("keys", "--private", f"{tmp_path}/bridge.key", "--public", f"{tmp_path}/hospital.pub")
    config = configured(tmp_path, port, 'sign_in = "link"\n')
    if test_data is not None:
        away = f'[fhir]\nbase_url = "http://127.0.0.1:{free_port()}"\ntest_data = {str(test_data).lower()}\n'
        config.write_text(config.read_text() + away)
    async with bridge(config, port) as running:
        await eventually(lambda: "bridge_started" in running.printed())
        said = [line for line in running.printed().splitlines() if "page_without_accounts" in line]
        assert len(said) == warns
        assert all("sees every patient" in line and '"level": "warning"' in line for line in said)
        opened = cloud_bridge("link", "--config", str(config)).stdout.strip()
        async with httpx.AsyncClient(follow_redirects=True) as http:
            page = await http.get(opened)
            assert (page.status_code, 'action="/sign-in"' in page.text) == (200, False)


def test_roots_command_may_read_what_a_unit_was_handed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guide's commands are root's, beside the service; systemd shows its credentials with an ACL."""
    from service_kit import key_files  # noqa: PLC0415 - its constant is another one here

    unit = tmp_path / "kiteline-cloud-bridge.service"
    cloud_bridge("keys", "--private", f"{unit}/bridge.key", "--public", f"{tmp_path}/hospital.pub")
    (unit / "bridge.key").chmod(0o440)
    config = configured(tmp_path, free_port())
    config.write_text(config.read_text().replace(f'"{tmp_path}/bridge.key"', f'"{unit}/bridge.key"'))
    refused = cloud_bridge("status", "--config", str(config))
    assert (refused.returncode, "Others may read" in refused.stderr) == (2, True)
    monkeypatch.setattr(key_files, "CREDENTIALS", tmp_path)
    assert cloud_bridge("status", "--config", str(config)).returncode == 0
