"""Opening the database: durable, migrated, one writer at a time.

On SQLite the file's own lock lets one transaction write. On PostgreSQL each writing transaction begins by
taking one lock of the database, and lets go of it when it ends: so what the bridge reads before it writes
(the chain of a home, a patient's alerts, the end of the audit) cannot change in between, and numbers are
given in the order in which they become visible. Both wait `BUSY_MS` for their turn. Who only reads waits
for nobody.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from cloud_bridge.store.turns import Turns
from wire_format.errors import Misconfigured, Unreachable

BUSY_MS: Final = 30_000
_TURN: Final = "turn"
IDLE_MS: Final = 60_000
_IDLE: Final = "25P03"
"""SQLSTATE of a session that had the turn for longer than that: psycopg calls it an internal error."""
WRITERS: Final = 0x6B_69_74_65
"""The number of the writers' lock on PostgreSQL: "kite". Locks belong to one database."""
_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_DRIVERS: Final = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
_SESSION: Final = {
    "TimeZone": "UTC",
    "lock_timeout": f"{BUSY_MS}ms",
    # A machine that loses its power must not hold up the others for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


def open_engine(url: str) -> Engine:
    """Return an engine on a database whose schema is current. Raises `Misconfigured` for another kind."""
    engine = _engine(url)
    event.listen(engine, "handle_error", _unreachable)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _durable)
        _take_turns(engine)
    else:
        event.listen(engine, "connect", _session)
        event.listen(engine, "begin", _one_writer)
    with ExitStack() as failed:
        failed.callback(engine.dispose)
        migrate(engine)
        failed.pop_all()
    return engine


def _engine(url: str) -> Engine:
    try:
        address = make_url(url)
        driver = _DRIVERS[address.get_backend_name()]
        address = address.set(drivername=driver)
        return create_engine(address, pool_pre_ping=not driver.startswith("sqlite"))
    except (ArgumentError, NoSuchModuleError, KeyError) as error:
        # What was written may hold a password: it is not said.
        raise Misconfigured(
            "The `database` is neither sqlite:///PATH nor postgresql://USER@HOST/NAME: write one of them."
        ) from error
    except ImportError as error:
        raise Misconfigured(
            "The driver of this database is not installed: install what requirements/bridge.txt names."
        ) from error


def migrate(engine: Engine) -> None:
    """Bring the schema to its newest version, in one transaction."""
    if _is_current(engine):
        return
    # Only a new or an older database needs it: a command that finds a current one starts without.
    from alembic import command  # noqa: PLC0415 - as said
    from alembic.config import Config  # noqa: PLC0415 - as said
    from alembic.util import CommandError  # noqa: PLC0415 - as said

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


def _is_current(engine: Engine) -> bool:
    """Tell whether the database has the newest migration; the file of each begins with its number."""
    newest = max(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    with reading(engine) as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        had = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return list(had) == [newest]


def _unreachable(context: ExceptionContext) -> None:
    """Let callers tell a database that cannot be reached or written from one that was asked nonsense."""
    lost = context.is_disconnect or getattr(context.original_exception, "sqlstate", None) == _IDLE
    if lost or isinstance(context.sqlalchemy_exception, OperationalError):
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


def _session(raw: Any, _record: Any) -> None:  # noqa: ANN401 - the driver's own connection
    for name, value in _SESSION.items():
        raw.execute("SELECT set_config(%s, %s, false)", (name, value))
    # What is committed must be on the server's disk; a server that promises more keeps its promise.
    asked = "SELECT set_config(%s, 'on', false) WHERE current_setting(%s) = 'off'"
    raw.execute(asked, ("synchronous_commit", "synchronous_commit"))
    raw.commit()


def _one_writer(connection: Connection) -> None:
    if not connection.get_execution_options().get("reading", False):
        # Who has the turn and does nothing with it loses it: the others wait.
        connection.exec_driver_sql(
            f"SELECT set_config('idle_in_transaction_session_timeout', '{IDLE_MS}ms', true), "
            f"pg_advisory_xact_lock({WRITERS})"
        )


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Yield a connection that only reads, on one consistent snapshot."""
    options: dict[str, Any] = {"reading": True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def healthy(engine: Engine) -> bool:
    """Tell whether the database answers."""
    with reading(engine) as connection:
        return bool(connection.execute(text("SELECT 1")).scalar_one() == 1)
