"""The commands around captures: record a visit, replay a file."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Final

import typer

from edge_agent import config as configuration

captures: Final = typer.Typer()

CapturePath = Annotated[Path, typer.Argument(help="The capture, as some_device.capture.json.")]


@captures.command()
def record(  # noqa: PLR0913, PLR0917 - each is an option of the command
    address: Annotated[
        str, typer.Argument(help="The device's Bluetooth address, as C0:49:5F:00:00:01, or its serial port.")
    ],
    to: Annotated[Path, typer.Option(help="The capture to write. An existing file is not overwritten.")],
    config: Annotated[Path, typer.Option(help="The configuration file.")] = configuration.DEFAULT_PATH,
    within: Annotated[float, typer.Option(help="Seconds to wait for the device and its visit.")] = 600,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="A text to leave out too, as a serial number on the label.")
    ] = None,
    survey: Annotated[  # noqa: FBT002 - a switch of the command
        bool, typer.Option("--survey", help="Only look at the device, also if a profile fits it.")
    ] = False,
) -> None:
    """Record one visit to a device, without what identifies it. Stop the service first.

    A device that no profile fits is only looked at: nothing is written to it but subscriptions.
    """
    # Imported here: the other commands need no radio.
    from edge_agent.record import Wanted, write  # noqa: PLC0415
    from edge_agent.record import record as recorded  # noqa: PLC0415
    from service_kit.log import silent  # noqa: PLC0415

    loaded = configuration.load(config)
    device = address if address.startswith("/") else address.upper()
    wanted = Wanted(device, to, within, survey, tuple(leave_out or ()))
    session = asyncio.run(recorded(loaded, silent(), wanted))
    typer.echo(json.dumps(write(session, to), ensure_ascii=False, indent=1))


@captures.command()
def replay(
    file: CapturePath,
    profile: Annotated[
        str | None, typer.Option(help="Read it with this profile instead of the one that it names.")
    ] = None,
    profiles: Annotated[
        Path | None, typer.Option(help="A folder of profiles to use instead of the built-in ones.")
    ] = None,
    write_expect: Annotated[  # noqa: FBT002 - a switch of the command
        bool, typer.Option("--write-expect", help="Write what came into the file, as what is expected.")
    ] = False,
) -> None:
    """Run a capture through the drivers and print what comes of it; 1 if it is not what it expects."""
    from edge_agent.replay import replay as replayed  # noqa: PLC0415 - the other commands need no drivers

    raise typer.Exit(replayed(file, profile=profile, profiles=profiles, write_expect=write_expect))
