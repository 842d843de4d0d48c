"""`cloud-bridge`: run the bridge, make its keys, enrol homes, open the page, look at what waits."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import typer

from cloud_bridge import access_commands, organization_commands
from cloud_bridge import config as configuration
from cloud_bridge.discharge_command import discharge
from cloud_bridge.page_links import PageLinks
from cloud_bridge.rehearsal.command import rehearse_command
from cloud_bridge.rule_commands import commands
from service_kit.complaints import complain
from service_kit.key_files import read_private, write_private, write_public
from wire_format.errors import KitelineError, Misconfigured
from wire_format.keys import BridgeKeys, Kem

app: Final = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

app.command("rehearse")(rehearse_command)
app.command("discharge")(discharge)
app.add_typer(commands, name="rules")
app.add_typer(access_commands.accounts, name="account")
app.add_typer(access_commands.consents, name="consent")
app.add_typer(access_commands.audits, name="audit")
app.add_typer(organization_commands.organizations, name="organization")

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]


@app.command()
def run(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Run the bridge until it is told to end."""
    from cloud_bridge.app import run_bridge  # noqa: PLC0415 - the other commands need no broker
    from service_kit.log import configure  # noqa: PLC0415 - as above

    loaded = configuration.load(config)
    asyncio.run(run_bridge(loaded, configure().bind(site=loaded.site)))


@app.command()
def keys(
    private: Annotated[Path, typer.Option(help="Where the bridge's own keys go (0600).")],
    public: Annotated[Path, typer.Option(help="Where the part goes that gateways are given.")],
    kem: Annotated[Kem, typer.Option(help="How homes seal to this bridge.")] = Kem.MLKEM768_X25519,
) -> None:
    """Make the bridge's keys, and print the ids of their public parts. Existing keys are not touched."""
    made = BridgeKeys.generate(kem)
    write_private(private, made)
    write_public(public, made.public)
    public_keys = made.public
    ids = {
        "sealing": public_keys.sealing.key_id,
        "receipts": public_keys.receipts.key_id,
        "messages": public_keys.messages.key_id,
    }
    typer.echo(json.dumps({name: key_id.hex() for name, key_id in ids.items()}))


@app.command()
def enrol(
    file: Annotated[Path, typer.Argument(help="A TOML file with [gateway] and [[person]].")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Enrol a home's gateway and its people. May be repeated."""
    from cloud_bridge.app import open_store, utc_now  # noqa: PLC0415 - the other commands need no store
    from cloud_bridge.enrolment import enrol as enrol_home  # noqa: PLC0415 - as above

    loaded = configuration.load(config)
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        entry = enrol_home(file, loaded.site, store.registry, utc_now())
    finally:
        store.close()
    typer.echo(json.dumps({"gateway": entry.gateway.name, "people": len(entry.person)}))


@app.command()
def link(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print a link that opens the inbox page once, on this machine: for a first look."""
    loaded = configuration.load(config)
    if loaded.page is None:
        raise Misconfigured(f"{config}: the bridge serves no page: write [page] with a port.")
    if loaded.page.sign_in != "link":
        raise Misconfigured(
            f"{config}: links open nothing, people sign in: `cloud-bridge account add` makes an account."
        )
    token = PageLinks(loaded.state / "page-links").make()
    typer.echo(f"http://127.0.0.1:{loaded.page.port}/enter?token={token}")


@app.command()
def status(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print what waits, and what no destination accepted, as JSON."""
    from cloud_bridge.app import open_store  # noqa: PLC0415 - the other commands need no store

    loaded = configuration.load(config)
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        shown = {
            **store.counts(),
            "destinations": loaded.destinations,
            "deliveries_waiting": store.deliveries.waiting(),
            "held_back": [
                {
                    "destination": one.destination,
                    "patient": one.patient,
                    "count": one.count,
                    "since": one.since.isoformat(),
                    "reason": f"{one.recipient} has no consent to {one.data}",
                }
                for one in store.deliveries.held()
            ],
            "dead_letters": [
                {
                    "kind": letter.key.kind,
                    "subject": str(letter.key.subject),
                    "destination": letter.key.destination,
                    "error": letter.last_error,
                }
                for letter in store.alerts.dead_letters()
            ],
        }
    finally:
        store.close()
    typer.echo(json.dumps(shown))


@app.command()
def retry(
    kind: Annotated[str, typer.Argument(help='"alert", "reading", "visit" or "reminder".')],
    subject: Annotated[UUID, typer.Argument(help="As `status` prints it.")],
    destination: Annotated[str, typer.Argument(help="As `status` prints it.")],
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Deliver a dead letter again, after what was wrong is mended."""
    from cloud_bridge.app import open_store, utc_now  # noqa: PLC0415 - the other commands need no store
    from cloud_bridge.store.base import DeliveryKey  # noqa: PLC0415 - as above

    loaded = configuration.load(config)
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        store.deliveries.retry_dead(DeliveryKey(kind, subject, destination), utc_now())
    finally:
        store.close()


@app.command()
def resend(
    gateway: Annotated[str, typer.Argument(help="The home that shall send again.")],
    first: Annotated[int, typer.Option("--from", min=1, help="The first envelope wanted.")] = 1,
    config: ConfigPath = configuration.DEFAULT_PATH,
) -> None:
    """Ask a home to send its envelopes again, as after an older backup was restored. Nothing is doubled."""
    from cloud_bridge.app import open_store, utc_now  # noqa: PLC0415 - the other commands need no store

    loaded = configuration.load(config)
    store = open_store(loaded, read_private(loaded.keys.bridge, BridgeKeys))
    try:
        outboxes = store.outgoing.outboxes(gateway)
        for outbox_id in outboxes:
            store.outgoing.ask_again(gateway, outbox_id, first, utc_now())
    finally:
        store.close()
    typer.echo(json.dumps({"asked": [str(outbox_id) for outbox_id in outboxes]}))


def main() -> None:
    """Run a command; what a human must correct is said in one line."""
    try:
        app()
    except (KitelineError, BaseExceptionGroup) as error:
        sys.exit(complain("cloud-bridge", error))


if __name__ == "__main__":
    main()
