"""Opening the database: durable, migrated, one writer at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from cloud_bridge.store.turns import Turns
from wire_format.errors import Misconfigured, Unreachable

BUSY_MS: Final = 30_000
_TURN: Final = "turn"
_MIGRATIONS: Final = Path(__file__).parent / "migrations"


def open_engine(url: str) -> Engine:
    """Return an engine on a database whose schema is current."""
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    event.listen(engine, "handle_error", _unreachable)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
        _take_turns(engine)
    migrate(engine)
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to its newest version, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        raise Misconfigured(
            f"The database was written by a newer version of the bridge ({error}): install that one."
        ) from error


def _unreachable(context: ExceptionContext) -> None:
    """Let callers tell a database that cannot be reached or written from one that was asked nonsense."""
    if isinstance(context.sqlalchemy_exception, OperationalError):
        raise Unreachable(
            f"The database cannot be used now ({context.original_exception}): check its disk and its server."
        ) from context.original_exception


def _durable(raw: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own connection
    # SQLAlchemy begins transactions itself (below): the driver's own begin would come too late and too weak.
    raw.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_MS}"):
        raw.execute(f"PRAGMA {pragma}")


def _take_turns(engine: Engine) -> None:
    """Let writers queue, within this process by turns, and among processes by the database's own lock."""
    turns = Turns()

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("reading", False):
            connection.exec_driver_sql("BEGIN")
            return
        # Whose turn does not come in time asks the database, which says what is wrong.
        connection.info[_TURN] = turns.take(BUSY_MS / 1000)
        # IMMEDIATE: two processes queue for the write lock instead of failing when they come to write.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    def over(connection: Connection) -> None:
        give(connection.info)

    def returned(_raw: Any, record: ConnectionPoolEntry, _: Any) -> None:  # noqa: ANN401 - the pool's
        give(record.info)

    def give(info: dict[Any, Any]) -> None:
        if info.pop(_TURN, False):
            turns.give()

    event.listen(engine, "begin", begin)
    event.listen(engine, "commit", over)
    event.listen(engine, "rollback", over)
    event.listen(engine, "reset", returned)  # whatever became of it, its turn ends
    event.listen(engine, "invalidate", returned)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, on one consistent snapshot."""
    with engine.connect().execution_options(reading=True) as connection, connection.begin():
        yield connection


def healthy(engine: Engine) -> bool:
    """Tell whether the database answers."""
    with reading(engine) as connection:
        return bool(connection.execute(text("SELECT 1")).scalar_one() == 1)
