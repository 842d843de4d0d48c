"""How answers leave: as JSON with an entity tag, pages with the link to the next one."""

import hashlib
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from fastapi import Request, Response
from pydantic import BaseModel

_DIGEST: Final = 16


def tag_of(revision: int) -> str:
    """Return the short entity tag of an alert's revision: what an act is sent with, and events say."""
    return f'"{revision}"'


def revision_in(sent: str) -> int | None:
    """Return the revision that an If-Match header names; None if any will do (`*`), 0 if it is none of ours.

    Of a list the first one counts that we ever gave. The digest after the hyphen is of what one reader was
    shown: a reading that arrived meanwhile, or a consent, is no reason to throw away an answer.
    """
    if sent.strip() == "*":
        return None
    for one in sent.split(","):
        number = one.strip().strip('"').partition("-")[0]
        if number.isascii() and number.isdecimal() and len(number) < 10:  # noqa: PLR2004 - a column's digits
            return int(number)
    return 0


def answer(
    request: Request, shown: BaseModel, revision: int | None = None, more: str | None = None
) -> Response:
    """Return what is shown, or 304 if whoever asks has exactly that; `more` is where the next page begins."""
    body = shown.model_dump_json().encode()
    digest = hashlib.sha256(body).hexdigest()[:_DIGEST]
    tag = f'"{digest}"' if revision is None else f'"{revision}-{digest}"'
    sent = {"ETag": tag, **_next_link(request, more)}
    if request.method == "GET" and _known(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=sent)
    return Response(body, 200, sent, "application/json")


def _known(sent: str, tag: str) -> bool:
    """Tell whether a tag is among those sent; weakly compared, as RFC 9110 13.1.2 says."""
    tags = {one.strip().removeprefix("W/") for one in sent.split(",")}
    return tag in tags or "*" in tags


def _next_link(request: Request, cursor: str | None) -> Mapping[str, str]:
    if cursor is None:
        return {}
    asked = [(key, value) for key, value in request.query_params.multi_items() if key != "cursor"]
    query = urlencode([*asked, ("cursor", cursor)])
    return {"Link": f'<{request.url.path}?{query}>; rel="next"'}
