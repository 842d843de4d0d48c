"""What `[page.oidc]` may say, what a mistake is answered with, and the commands that bind accounts."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloud_bridge.access.oidc import Local
from cloud_bridge.access.provider import Provider, Secret
from cloud_bridge.access_commands import accounts
from cloud_bridge.config import Config, load
from cloud_bridge.connectors.smart_backend import Client
from cloud_bridge.oidc_section import OidcSection
from service_kit.key_files import write_private
from service_kit.log import configure
from tests.doubles.edge_readings import bridge_keys
from tests.unit.test_bridge_config import GOOD, NOW, written
from wire_format.errors import Misconfigured, Rejected

OIDC = """
[page]
port = 8600
sign_in = "accounts"

[page.oidc]
issuer = "https://sso.hospital.example"
client_id = "kiteline"
client_secret_file = "{folder}/secret"
amr = ["otp"]
"""


def section(folder: Path, *change: str) -> Config:
    return load(written(folder, GOOD + (OIDC.replace(*change) if change else OIDC)))  # type: ignore[arg-type]  # two


def provider(config: Config) -> Provider:
    assert config.page is not None
    assert config.page.oidc is not None
    return config.page.oidc.provider(config.page.port, lambda: NOW, configure())


def test_what_is_not_said_is_the_strict_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    config = section(tmp_path)
    assert config.page is not None
    assert config.page.oidc is not None
    assert (config.page.oidc.local, config.page.oidc.account_claim) == (Local.ADMINISTRATORS, None)
    relying = provider(config).relying
    assert relying.redirect_uri == "http://127.0.0.1:8600/sign-in/hospital/return"
    assert (relying.scope, relying.leeway_s) == ("openid", 60)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (('"accounts"', '"link"'), 'leave sign_in = "link" out'),
        (("8600", "0"), "choose one"),
        (("https://sso.hospital", "http://sso.hospital"), "https://"),
        (("https://sso.hospital", "http://127.0.0.1.hospital"), "https://"),
        (("https://sso.hospital", "http://127.0.0.1:80@sso.hospital"), "https://"),
        (("https://sso.hospital.example", "https://"), "https://"),
        (('amr = ["otp"]', ""), "second factor"),
        (('amr = ["otp"]', "amr = []"), "second factor"),
        (('amr = ["otp"]', 'amr = [""]'), "page.oidc.amr"),
        (("client_secret_file", "key_file"), "key_file and key_id go together"),
        (('client_secret_file = "{folder}/secret"', ""), "one of them"),
        (("amr =", 'key_file = "k"\nkey_id = "1"\namr ='), "one of them"),
        (("amr =", 'scope = "profile"\namr ='), "must contain openid"),
        (("amr =", 'account_claim = "email"\namr ='), "account bind"),
        (("amr =", 'account_claim = "Email"\namr ='), "account bind"),
        (("amr =", 'account_claim = "name"\namr ='), "account bind"),
        (("amr =", 'algorithm = "HS256"\namr ='), "page.oidc.algorithm"),
        (("amr =", "leeway_s = 3600\namr ="), "page.oidc.leeway_s"),
        (("amr =", 'local = "nurses"\namr ='), "page.oidc.local"),
        (("amr =", "verify = false\namr ="), "'page.oidc.verify' is not known"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        section(tmp_path, *change)


def test_who_asks_is_proved_by_what_the_file_holds(tmp_path: Path) -> None:
    config = section(tmp_path)
    with pytest.raises(Misconfigured, match=r"client_secret_file: .*cannot be read"):
        provider(config)
    (tmp_path / "secret").write_text("\n")
    with pytest.raises(Misconfigured, match="client_secret_file is empty"):
        provider(config)
    (tmp_path / "secret").write_text("s3cret\n")
    assert provider(config)._proof == Secret("s3cret")  # noqa: SLF001 - what is sent there
    (tmp_path / "key").write_text("no key\n")
    config = section(
        tmp_path, 'client_secret_file = "{folder}/secret"', 'key_file = "{folder}/key"\nkey_id = "k"'
    )
    proof = provider(config)._proof  # noqa: SLF001 - as above
    assert isinstance(proof, Client)
    with pytest.raises(Misconfigured, match=r"page\.oidc\.key_file is no private key for ES384"):
        proof.for_("https://sso.hospital.example/token").assertion(NOW)
    with pytest.raises(Misconfigured, match=r"page\.oidc\.tls"):
        provider(section(tmp_path, "amr", 'tls = { ca = "{folder}/no" }\namr'))


def test_the_guide_loads_and_names_every_key(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "sign_in.md").read_text()
    (shown,) = re.findall(r"```toml\n# cloud-bridge, oidc\n(.*?)```", guide, flags=re.DOTALL)
    page = load(written(tmp_path, GOOD + shown)).page
    assert page is not None
    assert page.oidc is not None
    tables = "\n".join(line for line in guide.splitlines() if line.startswith("|"))
    named = set(re.findall(r"`(\w+)(?:\.ca)?`", tables))
    assert set(OidcSection.model_fields) <= named


def test_accounts_are_bound_and_unbound_by_command(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + OIDC)
    write_private(tmp_path / "bridge.key", bridge_keys())
    (tmp_path / "secret").write_text("s3cret\n")

    def account(*arguments: str) -> str:
        done = CliRunner().invoke(accounts, [*arguments, "--config", str(path)])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    added = account("add", "n1", "--role", "nurse", "--organization", "w1", "--no-local")
    assert json.loads(added) == {"account": "n1", "authenticator": None}
    account("bind", "n1", "sub-1", "--by", "it-1")
    with pytest.raises(Rejected, match="is bound already"):
        account("bind", "n1", "sub-2", "--by", "it-1")
    (shown,) = json.loads(account("list"))
    assert [(b["subject"], b["by"]) for b in shown["bound"]] == [("sub-1", "it-1")]
    assert json.loads(account("unbind", "n1")) == {"unbound": 1}
    with pytest.raises(Rejected, match="no account n9"):
        account("bind", "n9", "sub-2", "--by", "it-1")
    path.write_text(GOOD.replace("{folder}", str(tmp_path)))
    with pytest.raises(Misconfigured, match=r"no \[page\.oidc\]"):
        account("bind", "n1", "sub-1", "--by", "it-1")
