"""Guard: whatever takes more processor time than any input may is a hang, and is named with its input."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

PATIENCE_S: Final = 5.0
MEMORY_BYTES: Final = 2 << 30


class HangError(BaseException):
    """An input that does not come to an end. No handler of the product may swallow it."""


@contextmanager
def watched(patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Raise `HangError` where the code is once it has used so much processor time without `breathe`."""

    def hung(_number: int, frame: FrameType | None) -> None:
        if frame is not None and _holds_a_lock(frame):
            return
        raise HangError(f"more than {patience_s} s of processor time for one input")

    before = signal.signal(signal.SIGVTALRM, hung)
    try:
        breathe(patience_s)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _holds_a_lock(frame: FrameType) -> bool:
    # coverage takes a lock at every line that it notes, between two calls of its own: an error raised within
    # one of them leaves the lock taken, and the next line waits for it for ever. The timer comes again.
    return Path(frame.f_code.co_filename).parent.name == "coverage"


def breathe(patience_s: float = PATIENCE_S) -> None:
    """Begin another input."""
    # Again and again: what is raised within a finalizer is lost, and where a lock is held nothing is raised.
    signal.setitimer(signal.ITIMER_VIRTUAL, patience_s, patience_s)


def bound_memory() -> None:
    """Let this process have no more than so much: what grows without end raises `MemoryError`."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, hard))
