"""`virtual-home`: simulated homes for demonstrations and tests."""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from service_kit.signals import until_signalled
from virtual_home.scenario import load_scenario
from wire_format.errors import KitelineError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def virtual_home() -> None:
    """Run simulated homes over a virtual radio."""


@app.command()
def devices(
    radio: Annotated[Path, typer.Option(help="UNIX socket on which an agent finds an HCI controller.")],
    control: Annotated[Path, typer.Option(help="UNIX socket for commands and events, as JSON lines.")],
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or a .toml file.")] = "first_line",
) -> None:
    """Run the devices of one home, each silent until somebody measures."""
    from virtual_home.home import run_home  # noqa: PLC0415 - the radio stack is slow to import

    loaded = load_scenario(scenario)
    for cable in loaded.cables:
        typer.echo(f"{cable.key}: {control.parent / cable.key}.tty")
    asyncio.run(run_home(loaded, radio, control))


@app.command()
def demo(
    once: Annotated[bool, typer.Option(help="Acknowledge by itself, print the figures, and end.")] = False,  # noqa: FBT002 - typer's way to write a flag
    scenario: Annotated[str, typer.Option(help="Name of a scenario, or a .toml file.")] = "first_line",
    language: Annotated[str, typer.Option(help="Language of the staff: en or zh-Hans.")] = "en",
    folder: Annotated[
        Path | None, typer.Option(help="Where to keep everything; else a temporary one.")
    ] = None,
) -> None:
    """Watch one reading travel from a device to the nurse, and the answer back."""
    from virtual_home.demo import run_demo  # noqa: PLC0415 - starts a whole street

    showing = run_demo(load_scenario(scenario), once=once, language=language, folder=folder)
    figures = asyncio.run(until_signalled(showing))
    if figures is not None:
        typer.echo(json.dumps(figures))


@app.command()
def storm(
    seed: Annotated[int, typer.Option(help="Whose readings.")] = 1,
    cases: Annotated[int | None, typer.Option(min=1, help="Only so many of the plan, evenly spread.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Keep everything here.")] = None,
) -> None:
    """Kill every process at every step of the path, and compare the record with the truth."""
    from virtual_home import storm as storming  # noqa: PLC0415 - starts a whole street
    from virtual_home.lab import Lab  # noqa: PLC0415 - as above

    plan = storming.plan()
    chosen = plan if cases is None else plan[:: max(1, len(plan) // cases)]
    place = folder or Path(tempfile.mkdtemp(prefix="kiteline-"))
    lab = Lab(place, storming.scenario(seed))
    outcome = asyncio.run(until_signalled(storming.run_storm(lab, chosen)))
    if outcome is None:
        sys.exit(f"It was ended before it was through. Logs and files are kept in {place}.")
    if folder is None:
        shutil.rmtree(place)
    typer.echo(json.dumps(outcome.report()))


def main() -> None:
    """Run the command line; say in one sentence what went wrong."""
    try:
        app()
    except KitelineError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        sys.exit(2)


if __name__ == "__main__":
    main()
