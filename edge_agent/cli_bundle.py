"""`edge-agent bundle`: make and verify a signed bundle of device profiles, and give one to this gateway."""

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent import config as configuration
from service_kit.key_files import read_private, read_public, write_private, write_public
from wire_format.errors import Misconfigured
from wire_format.keys import PublisherKeys, PublisherPublic

bundle: Final = typer.Typer(no_args_is_help=True, help="Signed bundles of device profiles.")

BundlePath = Annotated[Path, typer.Argument(help="The bundle.")]


@bundle.command()
def keys(
    private: Annotated[Path, typer.Option(help="Where the publisher's key goes (0600). It stays there.")],
    public: Annotated[Path, typer.Option(help="Where the part goes that gateways are given.")],
) -> None:
    """Make a publisher's key, and print the id of its public part. Existing keys are not touched."""
    made = PublisherKeys.generate()
    write_private(private, made)
    write_public(public, made.public)
    typer.echo(json.dumps({"profiles": made.public.profiles.key_id.hex()}))


@bundle.command()
def make(
    key: Annotated[Path, typer.Option(help="The publisher's private key.")],
    to: Annotated[Path, typer.Option(help="The bundle to write.")],
    profiles: Annotated[
        Path | None, typer.Option(help="The folder of profiles and its VERSION; default: the built-in ones.")
    ] = None,
) -> None:
    """Sign every profile and capture of a folder, after trying each profile on its captures."""
    from device_drivers.bundle import built_in_version, files_of, make_bundle  # noqa: PLC0415 - as in `cli`

    signer = read_private(key, PublisherKeys).profiles
    version, content = built_in_version(profiles), files_of(profiles)
    to.write_bytes(make_bundle(content, version, dt.datetime.now(dt.UTC), signer))
    typer.echo(json.dumps({"bundle": str(to), "version": version, "files": len(content)}))


@bundle.command()
def verify(
    file: BundlePath,
    key: Annotated[Path, typer.Option(help="The publisher's public key.")],
) -> None:
    """Check a bundle, and print its version and the hash of each profile, as readings name it."""
    from device_drivers.bundle import open_bundle  # noqa: PLC0415 - as in `cli`

    opened = open_bundle(_read(file), read_public(key, PublisherPublic).profiles)
    hashes = {name: profile.content_hash for name, profile in opened.profiles().items()}
    said = {"version": opened.version, "made_at": opened.manifest.made_at.isoformat(), "profiles": hashes}
    typer.echo(json.dumps(said, indent=1))


@bundle.command()
def install(
    file: BundlePath,
    config: Annotated[Path, typer.Option(help="The configuration file.")] = configuration.DEFAULT_PATH,
) -> None:
    """Give a bundle to this gateway: the agent takes it at its next start. An older one is refused."""
    from edge_agent.app import shelf_of  # noqa: PLC0415 - as in `cli`

    installed = shelf_of(configuration.load(config), take=False).install(_read(file))
    typer.echo(json.dumps({"version": installed.version, "used": "from the next start of the agent"}))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise Misconfigured(f"The bundle {file} cannot be read ({error.strerror}).") from error
