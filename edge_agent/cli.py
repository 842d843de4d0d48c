"""`edge-agent`: run the gateway, pair devices, look into its outbox, make its keys, decode a packet."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent import config as configuration
from edge_agent import device_commands
from edge_agent.cli_bundle import bundle
from edge_agent.cli_captures import captures
from service_kit.complaints import complain
from service_kit.key_files import write_private, write_public
from wire_format.errors import KitelineError, Misconfigured
from wire_format.keys import GatewayKeys, Kem

app: Final = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

app.add_typer(captures)
app.add_typer(bundle, name="bundle")

ConfigPath = Annotated[Path, typer.Option("--config", help="The configuration file.")]


@app.command()
def run(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Run the agent until it is told to end."""
    # Imported here: the other commands need no radio.
    from edge_agent.app import run_agent  # noqa: PLC0415
    from service_kit.log import configure, quieten_libraries  # noqa: PLC0415

    loaded = configuration.load(config)
    log = configure().bind(site=loaded.site, gateway=loaded.gateway)
    quieten_libraries(log)
    asyncio.run(run_agent(loaded, log))


@app.command()
def decode(
    packets: Annotated[list[str], typer.Argument(help="The packets in hex, in the order they came.")],
    profile: Annotated[str, typer.Option(help="The device profile, as standard/blood_pressure.")],
    characteristic: Annotated[str, typer.Option(help="The characteristic, as 2A35.")],
) -> None:
    """Print what packets of a capture say, as JSON."""
    from edge_agent import decode as decoding  # noqa: PLC0415 - the other commands need no drivers

    raise typer.Exit(decoding.decode(profile, characteristic, packets))


@app.command()
def status(config: ConfigPath = configuration.DEFAULT_PATH) -> None:
    """Print what the outbox holds, which alerts the care team saw, and how the radio is, as JSON.

    `radio` is null while no agent runs.
    """
    from edge_agent.outbox import Outbox  # noqa: PLC0415 - the other commands need no outbox
    from edge_agent.publisher import acknowledgements  # noqa: PLC0415 - as above

    loaded = configuration.load(config)
    folder = loaded.state / "outbox"
    if not folder.exists():
        raise Misconfigured(f"There is no outbox in {folder}: the agent has not run yet.")
    outbox = Outbox(folder, loaded.gateway)
    counts = outbox.counts()
    seen = [{"alert_id": str(alert), "seen_at": at.isoformat()} for alert, at in acknowledgements(outbox)]
    outbox.close()
    shown = {
        "waiting": counts.waiting,
        "waiting_bytes": counts.waiting_bytes,
        "settled": counts.settled,
        "care_team_saw": seen,
        "radio": device_commands.radio_facts(loaded.state),
    }
    typer.echo(json.dumps(shown))


@app.command()
def keys(
    private: Annotated[Path, typer.Option(help="Where the gateway's own keys go (0600).")],
    public: Annotated[Path, typer.Option(help="Where the part goes that the hospital enrols.")],
    kem: Annotated[Kem, typer.Option(help="How messages to this gateway are sealed.")] = Kem.MLKEM768_X25519,
) -> None:
    """Make the gateway's keys, and print the ids of their public parts. Existing keys are not touched."""
    made = GatewayKeys.generate(kem)
    write_private(private, made)
    write_public(public, made.public)
    ids = {"signing": made.public.signing.key_id.hex(), "sealing": made.public.sealing.key_id.hex()}
    typer.echo(json.dumps(ids))


app.command()(device_commands.pair)
app.command()(device_commands.devices)
app.command()(device_commands.forget)


def main() -> None:
    """Run a command; what a human must correct is said in one line."""
    try:
        app()
    except (KitelineError, BaseExceptionGroup) as error:
        sys.exit(complain("edge-agent", error))


if __name__ == "__main__":
    main()
