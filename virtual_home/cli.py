"""`virtual-home`: simulated homes for demonstrations and tests."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from virtual_home.scenario import load_scenario
from wire_format.errors import KitelineError

app = typer.Typer(add_completion=False, no_args_is_help=True)


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

    asyncio.run(run_home(load_scenario(scenario), radio, control))


def main() -> None:
    """Run the command line; say in one sentence what went wrong."""
    try:
        app()
    except KitelineError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's output
        sys.exit(2)


if __name__ == "__main__":
    main()
