"""The OpenAPI 3.1 description: what FastAPI sees in the routes, and what it cannot see."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from cloud_bridge.api.room import PROGRAMS
from cloud_bridge.api.session import COOKIE
from cloud_bridge.api.v1.door import CSRF_HEADER
from cloud_bridge.api.v1.problem import MEDIA_TYPE, SAID, Kind, Problem, Wrong

_ABOUT: Final = """\
Alerts, readings, consents and the record of access, for programs and for our own page. Whoever asks has an
account; its role, care team and the patients' consents decide what is answered (docs/access.md). Every read
is on record, and the patient sees it. What is not there and what you may not see are answered alike.

Lists come in pages: go on with `next` as `cursor`, or with the `Link` header, until there is none. Answers
have an ETag; `If-None-Match` spares you what you know. Errors are RFC 9457 problems, in the language that
you accept.
"""
_ANY: Final = (
    Kind.NOT_SIGNED_IN,
    Kind.NOT_ALLOWED,
    Kind.TOO_LARGE,
    Kind.OTHER_HOST,
    Kind.INVALID,
    Kind.TOO_MANY,
    Kind.FAILED,
    Kind.UNREACHABLE,
)
_ACT: Final = (Kind.NO_SUCH_STEP, Kind.CHANGED, Kind.NOT_SEEN)
_HEADERS: Final = {
    "ETag": {"description": "The tag of this answer.", "schema": {"type": "string"}},
    "Link": {"description": 'The next page (rel="next"), if there is one.', "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to sign in.", "schema": {"type": "string"}},
}


def describe(api: FastAPI) -> dict[str, Any]:
    """Return the description; it is made once."""
    if api.openapi_schema is None:
        made = get_openapi(
            title=api.title,
            version=api.version,
            openapi_version=api.openapi_version,
            description=_ABOUT,
            routes=api.routes,
        )
        made["servers"] = [{"url": PROGRAMS}]
        made["security"] = [{"token": []}, {"session": []}]
        _components(made)
        for path, methods in made["paths"].items():
            for method, operation in methods.items():
                _complete(operation, method, path)
        api.openapi_schema = made
    return api.openapi_schema


def _components(made: dict[str, Any]) -> None:
    known = made["components"]
    known["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `cloud-bridge account token`.",
        },
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": f"Of somebody who signed in at the page; changes also need {CSRF_HEADER}.",
        },
    }
    for model in (Wrong, Problem):
        found = model.model_json_schema(ref_template="#/components/schemas/{model}")
        found.pop("$defs", None)
        known["schemas"][model.__name__] = found
    for name in ("HTTPValidationError", "ValidationError"):
        known["schemas"].pop(name, None)


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    """Add what every answer of an operation may be, and its headers."""
    acts = bool(operation.pop("x-conditional", False)) and method == "post"
    responses = operation["responses"]
    responses.pop("422", None)
    streams = "text/event-stream" in responses["200"]["content"]
    responses["200"]["content"].pop("application/json", None) if streams else None
    if not streams:
        responses["200"]["headers"] = {"ETag": _HEADERS["ETag"]}
    if method == "get" and not streams:
        responses["304"] = {"description": "You have it.", "headers": {"ETag": _HEADERS["ETag"]}}
        if any(one["name"] == "cursor" for one in operation.get("parameters", ())):
            responses["200"]["headers"]["Link"] = _HEADERS["Link"]
        _condition(operation)
    gone = (Kind.GONE,) if path.endswith("/retry") else ()
    for kind in (*_ANY, *(_ACT if acts else ()), *gone):
        responses.setdefault(str(SAID[kind].status), _problem(kind))


def _condition(operation: dict[str, Any]) -> None:
    sent = {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}
    operation.setdefault("parameters", []).append({**sent, "description": "ETags that you have."})


def _problem(kind: Kind) -> dict[str, Any]:
    said = SAID[kind]
    example = {
        "type": f"urn:kiteline:problem:{kind}",
        "title": said.title,
        "status": said.status,
        "detail": said.detail,
    }
    content = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}
    found: dict[str, Any] = {"description": said.title, "content": {MEDIA_TYPE: content}}
    names = {
        Kind.NOT_SIGNED_IN: "WWW-Authenticate",
        Kind.TOO_MANY: "Retry-After",
        Kind.CHANGED: "ETag",
        Kind.NO_SUCH_STEP: "ETag",
    }
    if kind in names:
        found["headers"] = {names[kind]: _HEADERS[names[kind]]}
    return found
