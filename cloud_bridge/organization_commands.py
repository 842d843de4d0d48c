"""`cloud-bridge organization`: to whom homes may seal beside the hospital, where patients consent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cloud_bridge import config as configuration
from cloud_bridge.access.consent import ORGANIZATION, parse_recipient
from service_kit.key_files import read_private, read_public
from wire_format.keys import BridgeKeys, BridgePublic

organizations: Final = typer.Typer(no_args_is_help=True, help="Whom homes seal to, where patients consent.")

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]
Name = Annotated[str, typer.Argument(help="As consents name it after organization:.")]


@contextmanager
def _sharing(config: Path) -> Iterator[tuple[Any, BridgeKeys]]:
    from cloud_bridge.app import open_store  # noqa: PLC0415 - other commands need no store

    loaded = configuration.load(config)
    keys = read_private(loaded.keys.bridge, BridgeKeys)
    store = open_store(loaded, keys)
    try:
        yield store.sharing, keys
    finally:
        store.close()


@organizations.command()
def add(
    name: Name,
    key: Annotated[Path, typer.Argument(help="Its public file, of `cloud-bridge keys` there.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Register an organization's public key. Homes of patients who consent seal to it from then on."""
    from cloud_bridge.app import utc_now  # noqa: PLC0415 - as above

    parse_recipient(f"{ORGANIZATION}{name}")
    sealing = read_public(key, BridgePublic).sealing
    with _sharing(config) as (sharing, keys):
        sharing.add_organization(name, sealing, keys.opening.kem, utc_now())
    typer.echo(json.dumps({"organization": name, "key": sealing.key_id.hex()}))


@organizations.command()
def remove(name: Name, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Forget an organization's key: homes are told to seal to it no more."""
    with _sharing(config) as (sharing, _):
        sharing.remove_organization(name)


@organizations.command("list")
def list_organizations(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print every organization and the id of its key, as JSON."""
    with _sharing(config) as (sharing, _):
        shown = {name: key.key_id.hex() for name, key in sharing.organizations().items()}
    typer.echo(json.dumps(shown, ensure_ascii=False))
