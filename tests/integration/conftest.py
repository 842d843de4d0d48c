"""What integration tests share: the two engines that the record is kept on."""

from collections.abc import Iterator

import pytest

from tests.doubles.databases import Databases
from tests.doubles.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One server for all tests of a worker; whoever asks for it is skipped by name where there is none."""
    with postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def each_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Have the desks of a test keep their record on each engine in turn; gives its name."""
    if request.param == "sqlite":
        yield "sqlite"
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    monkeypatch.setattr(Databases, "of", staticmethod(server.of))
    yield "postgresql"
    server.take_back()
