"""The interface for programs as an application of its own: routes, errors, and its description."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from cloud_bridge.access.endpoints import ENDPOINTS
from cloud_bridge.api.room import PROGRAMS, Room
from cloud_bridge.api.v1 import alerts, events, patients, site
from cloud_bridge.api.v1.description import describe
from cloud_bridge.api.v1.door import Desk, Programs
from cloud_bridge.api.v1.limits import Bounded, Rate
from cloud_bridge.api.v1.problem import OTHERWISE, WRONG, ApiError, Kind, answer
from cloud_bridge.console.language import Language
from cloud_bridge.console.people import Accounts
from wire_format.errors import Unreachable

_KINDS: Final = {404: Kind.NO_SUCH_PATH, 405: Kind.WRONG_METHOD}
_WHERE: Final = f"{PROGRAMS}/openapi.json"


def create_api(room: Room, accounts: Accounts, programs: Programs) -> FastAPI:
    """Return the application, to be mounted at `PROGRAMS`."""
    api = routes()
    rate = Rate(room.page.clock, programs.per_minute)
    api.state.desk = Desk(
        room, accounts, programs.alerts, programs.listings, programs.tokens, rate, programs.streams
    )
    api.add_middleware(Bounded)
    return api


def routes() -> FastAPI:
    """Return all routes with their description; `KeyError` for one that asks the policies nothing."""
    api = FastAPI(title="Kiteline", version="1", docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    for part in (site, alerts, patients, events):
        part.register(api, add)
    api.add_exception_handler(ApiError, _said)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(Unreachable, _unreachable)
    api.add_exception_handler(Exception, _failed)
    api.openapi = lambda: describe(api)  # type: ignore[method-assign]  # FastAPI's documented way
    return api


def add(  # noqa: PLR0913, PLR0917 - what a route is
    api: FastAPI,
    method: str,
    path: str,
    route: Callable[..., Any],
    model: type[BaseModel] | None,
    summary: str,
    *,
    conditional: bool = False,
    **more: Any,  # noqa: ANN401 - FastAPI's own
) -> None:
    """Add a route that has its row in the matrix of who may ask what."""
    ENDPOINTS[method, path]
    extra = {"x-conditional": conditional}
    api.add_api_route(
        path,
        route,
        methods=[method],
        response_model=model,
        summary=summary,
        operation_id=route.__name__,
        openapi_extra=extra,
        **more,
    )


def _words(request: Request) -> Language:
    desk: Desk = request.app.state.desk
    return desk.room.words(request)


def _said(request: Request, error: Any) -> JSONResponse:  # noqa: ANN401 - an `ApiError`
    return answer(error, _words(request))


def _http(request: Request, error: Any) -> JSONResponse:  # noqa: ANN401 - an `HTTPException`
    """Answer what the framework refuses by itself; beside paths and methods that is a body it cannot read."""
    if error.status_code not in _KINDS:
        return answer(ApiError(Kind.INVALID, [("body", "", WRONG["json_invalid"])]), _words(request))
    return answer(ApiError(_KINDS[error.status_code], headers=error.headers, where=_WHERE), _words(request))


def _invalid(request: Request, error: Any) -> JSONResponse:  # noqa: ANN401 - a `RequestValidationError`
    return answer(ApiError(Kind.INVALID, [_wrong(one) for one in error.errors()]), _words(request))


def _wrong(one: dict[str, Any]) -> tuple[str, str, str]:
    """Return place, name and what is wrong with a field, without what was sent."""
    place, *rest = one["loc"]
    name = "" if one["type"] == "json_invalid" else ".".join(str(part) for part in rest)
    return str(place), name, WRONG.get(one["type"], OTHERWISE)


def _unreachable(request: Request, _error: Exception) -> JSONResponse:
    return answer(ApiError(Kind.UNREACHABLE, headers={"Retry-After": "60"}), _words(request))


def _failed(request: Request, _error: Exception) -> JSONResponse:
    return answer(ApiError(Kind.FAILED), _words(request))
