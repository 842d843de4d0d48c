"""Errors of the interface, as RFC 9457 (application/problem+json) in the language of whoever reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from cloud_bridge.console.language import Language

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:kiteline:problem:"


class Kind(StrEnum):
    """What went wrong; the end of a problem's `type`."""

    NOT_SIGNED_IN = "not-signed-in"
    NOT_ALLOWED = "not-allowed"
    FOREIGN_FORM = "foreign-form"
    NO_SUCH_PATH = "no-such-path"
    WRONG_METHOD = "wrong-method"
    GONE = "gone"
    NO_SUCH_STEP = "no-such-step"
    CHANGED = "changed"
    TOO_LARGE = "too-large"
    OTHER_HOST = "other-host"
    INVALID = "invalid"
    NOT_SEEN = "not-seen"
    TOO_MANY = "too-many"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class _Said:
    status: int
    title: str
    detail: str


SAID: Final[Mapping[Kind, _Said]] = {
    Kind.NOT_SIGNED_IN: _Said(
        401, "Nobody is signed in", "Sign in at the page, or send a token that is in force."
    ),
    Kind.NOT_ALLOWED: _Said(
        403, "Not for this account", "There is no such thing, or your account may not see or do it."
    ),
    Kind.FOREIGN_FORM: _Said(
        403, "Not sent by our page", "Nothing was changed: send the session's Kiteline-CSRF header with it."
    ),
    Kind.NO_SUCH_PATH: _Said(404, "No such path", "The paths that there are: {where}"),
    Kind.WRONG_METHOD: _Said(405, "Not that method", "The methods of each path: {where}"),
    Kind.GONE: _Said(404, "Not there any more", "That is delivered by now, or waits already."),
    Kind.NO_SUCH_STEP: _Said(
        409, "No such step", "Nothing was changed: this item has no such step, or no such outcome."
    ),
    Kind.CHANGED: _Said(412, "Somebody was faster", "{said}"),
    Kind.TOO_LARGE: _Said(413, "Too large", "A request has {most} bytes at most."),
    Kind.OTHER_HOST: _Said(421, "Another address", "This page answers under its own address only."),
    Kind.INVALID: _Said(422, "Not understood", "Nothing was changed: correct what `errors` names."),
    Kind.NOT_SEEN: _Said(
        428, "Which state was seen?", "Nothing was changed: send the item's ETag as If-Match."
    ),
    Kind.TOO_MANY: _Said(429, "Too many requests", "Wait for {seconds} s, then go on more slowly."),
    Kind.FAILED: _Said(500, "The bridge failed", "It is not your request: tell the administrator the time."),
    Kind.UNREACHABLE: _Said(
        503, "The record cannot be reached", "Nothing was decided: try again in a minute."
    ),
}

WRONG: Final = {
    "missing": "It is missing.",
    "extra_forbidden": "There is no such field.",
    "enum": "Write one of the values that the description lists.",
    "literal_error": "Write one of the values that the description lists.",
    "int_parsing": "Write a whole number.",
    "int_type": "Write a whole number.",
    "greater_than_equal": "The number is too small.",
    "less_than_equal": "The number is too large.",
    "uuid_parsing": "Write a UUID.",
    "datetime_from_date_parsing": "Write a moment as RFC 3339 says, as 2026-11-24T08:00:00Z.",
    "datetime_parsing": "Write a moment as RFC 3339 says, as 2026-11-24T08:00:00Z.",
    "timezone_aware": "Write the moment's zone too, as 2026-11-24T08:00:00Z.",
    "string_type": "Write a string.",
    "string_too_short": "It is too short.",
    "string_too_long": "It is too long.",
    "string_pattern_mismatch": "It is not of the form that the description says.",
    "json_invalid": "This is no JSON.",
    "model_attributes_type": "Write a JSON object.",
}
OTHERWISE: Final = "It cannot be taken as it is."


class Wrong(BaseModel):
    """One field that cannot be taken."""

    model_config = ConfigDict(frozen=True)

    place: str = Field(description="Where it stands: path, query, header or body.")
    field: str = Field(description="Its name; empty for the body as a whole.")
    detail: str


class Problem(BaseModel):
    """What went wrong, as RFC 9457 says it. `title` and `detail` are in the language that was accepted."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(description="urn:kiteline:problem: and one of the kinds.")
    title: str
    status: int
    detail: str
    errors: list[Wrong] | None = Field(
        default=None, description="Of what could not be understood, each field."
    )


class ApiError(HTTPException):
    """A problem that a route answers with; `values` fill its sentence."""

    def __init__(
        self,
        kind: Kind,
        errors: Sequence[tuple[str, str, str]] = (),
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        """Take each of `errors` as place, field and what is wrong with it."""
        super().__init__(SAID[kind].status, headers=headers)
        self.kind = kind
        self.errors = tuple(errors)
        self.values = values


def answer(error: ApiError, words: Language) -> JSONResponse:
    """Return an error as it is sent."""
    said = SAID[error.kind]
    wrong = [Wrong(place=p, field=f, detail=words.say(d)) for p, f, d in error.errors]
    problem = Problem(
        type=f"{_TYPE}{error.kind}",
        title=words.say(said.title),
        status=said.status,
        detail=words.say(said.detail, **error.values),
        errors=wrong or None,
    )
    content = problem.model_dump(mode="json", exclude_none=True)
    headers = {"Content-Language": words.tag, **(error.headers or {})}
    return JSONResponse(content, said.status, headers, media_type=MEDIA_TYPE)
