"""Log lines: JSON on standard output, for the journal. What may be said is a list; anything else is dropped.

No value, name or address can slip in, because no key exists under which it could be said.
"""

import logging
import sys
import traceback
from pathlib import Path
from typing import Final

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

Log = FilteringBoundLogger

ALLOWED: Final = frozenset(
    {
        "event",
        "level",
        "timestamp",
        "gateway",
        "site",
        "device_id",  # our own id, derived; not the address
        "profile",
        "visit",
        "outbox_id",
        "sequence",
        "count",
        "waiting",
        "attempts",
        "verdict",
        "kind",
        "alert_id",
        "reason",  # of an error of ours, which never quotes what was measured
        "error",  # the class of an error
        "boot_id",
        "version",
        "port",
        "step",
        "seconds",
        "destination",
    }
)


def only_allowed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop every key that is not allowed, and say how many were."""
    kept = {key: value for key, value in event.items() if key in ALLOWED}
    if len(kept) != len(event):
        kept["dropped_keys"] = len(event) - len(kept)
    return kept


def scene(error: BaseException) -> str:
    """Return where in our code an unexpected error arose: class, file and line, never what it quotes."""
    frames = traceback.extract_tb(error.__traceback__)
    last = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{last}"


class Libraries(logging.Handler):
    """Says that a library has warned, and where, not what: its words may quote an address or a value."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Say one line for a record."""
        self._log.warning("library_warned", kind=record.name, reason=f"{record.filename}:{record.lineno}")


def configure() -> Log:
    """Set up logging for this process and return its logger."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            only_allowed,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(default=str),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(20),
    )
    log: Log = structlog.get_logger()
    return log


def quieten_libraries(log: Log) -> None:
    """Let no library that uses `logging` print its own words in this process."""
    logging.getLogger().addHandler(Libraries(log))


def _drop(_logger: WrappedLogger, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


def silent() -> Log:
    """Return a logger that says nothing, for whoever embeds parts of the agent."""
    log: Log = structlog.wrap_logger(
        None, processors=[_drop], wrapper_class=structlog.make_filtering_bound_logger(20)
    )
    return log
