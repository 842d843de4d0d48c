"""`cloud-bridge organization`: to whom homes may seal beside the hospital, where patients consent."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cloud_bridge import config as configuration
from cloud_bridge.access.consent import ORGANIZATION, parse_recipient
from cloud_bridge.access.model import DataType
from service_kit.key_files import read_private, read_public, write_public
from wire_format.errors import Rejected
from wire_format.keys import BridgeKeys, BridgePublic

if TYPE_CHECKING:
    from cloud_bridge.store.forwarding import Forwarded, SqlForwarding

BATCH: Final = 500

organizations: Final = typer.Typer(no_args_is_help=True, help="Whom homes seal to, where patients consent.")

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]
Name = Annotated[str, typer.Argument(help="As consents name it after organization:.")]


@contextmanager
def _store(config: Path) -> Iterator[tuple[Any, BridgeKeys]]:
    from cloud_bridge.app import open_store  # noqa: PLC0415 - other commands need no store

    loaded = configuration.load(config)
    keys = read_private(loaded.keys.bridge, BridgeKeys)
    store = open_store(loaded, keys)
    try:
        yield store, keys
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
    with _store(config) as (store, keys):
        store.sharing.add_organization(name, sealing, keys.opening.kem, utc_now())
    typer.echo(json.dumps({"organization": name, "key": sealing.key_id.hex()}))


@organizations.command()
def remove(name: Name, config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Forget an organization's key: homes are told to seal to it no more."""
    with _store(config) as (store, _):
        store.sharing.remove_organization(name)


@organizations.command("list")
def list_organizations(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print every organization and the id of its key, as JSON."""
    with _store(config) as (store, _):
        shown = {name: key.key_id.hex() for name, key in store.sharing.organizations().items()}
    typer.echo(json.dumps(shown, ensure_ascii=False))


@organizations.command()
def export(
    name: Name,
    folder: Annotated[Path, typer.Argument(help="Where envelopes go that are not there yet.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Write what homes sealed to an organization, unopened, as far as patients consent now. It is on record.

    Beside the envelopes (named by their SHA-256) are the homes' public keys, which verify them.
    """
    from cloud_bridge.app import utc_now  # noqa: PLC0415 - as above

    written = 0
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = {path.stem for path in folder.glob("*.envelope")}
    with _store(config) as (store, _):
        key = store.sharing.organizations().get(name)
        if key is None:
            raise Rejected(f"There is no organization {name}: `cloud-bridge organization list`.")
        # A batch at a time: years of envelopes need not be in memory, and a withdrawal meanwhile is seen.
        while found := list(islice(store.forwarding.envelopes(name, key, utc_now(), known), BATCH)):
            _write(folder, store.forwarding, name, found)
            known |= {one.digest.hex() for one in found}
            written += len(found)
    typer.echo(json.dumps({"written": written}))


def _write(folder: Path, forwarding: "SqlForwarding", name: str, found: list["Forwarded"]) -> None:
    from cloud_bridge.app import utc_now  # noqa: PLC0415 - as above

    given: Counter[tuple[str, DataType]] = Counter()
    for one in found:
        given.update(one.of)
    # Before anything is written: what is passed on is on record.
    forwarding.passed_on(name, given, utc_now())
    for gateway in sorted({one.gateway for one in found}):
        public = forwarding.gateway(gateway)
        path = folder / f"{gateway}-{public.signing.key_id.hex()}.pub"
        if not path.exists():
            write_public(path, public)
    for one in found:
        part = folder / f"{one.digest.hex()}.part"
        part.write_bytes(one.data)
        part.replace(part.with_suffix(".envelope"))  # half a file is none
