"""What integration tests share: the two engines that the record is kept on, a hospital's provider."""

from collections.abc import Iterator

import pytest

from cloud_bridge.api.hospital_sign_in import BACK
from tests.doubles.databases import Databases
from tests.doubles.oidc_provider import OidcProvider, running
from tests.doubles.page_visitor import HOST
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


@pytest.fixture(scope="module")
def oidc_server() -> Iterator[OidcProvider]:
    with running() as one:
        yield one


@pytest.fixture
def hospital(oidc_server: OidcProvider) -> OidcProvider:
    """The provider that runs, as if nothing had been told to it before."""
    oidc_server.__init__(oidc_server.host, oidc_server.port, f"http://{HOST}{BACK}")  # type: ignore[misc]  # begun anew
    return oidc_server
