"""`cloud-bridge` as it is typed, in this process: to start another takes a second or two of computing."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

from cloud_bridge.cli import main


@dataclass(frozen=True)
class Done:
    """What a command ended with and printed."""

    returncode: int
    stdout: str
    stderr: str


def cloud_bridge(*words: str) -> Done:
    """Run `cloud-bridge` with `words`, nobody at the terminal, as the installed program does."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, stdin = (
        patch.object(sys, "argv", ["cloud-bridge", *words]),
        patch.object(sys, "stdin", io.StringIO()),
    )
    with argv, stdin, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Done(code, out.getvalue(), err.getvalue())
