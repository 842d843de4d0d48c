"""The text that a consent names as a FHIR R4 Attachment, out and in. Pure.

R4 says that an attachment's hash is the SHA-1 of its bytes; we keep texts by their SHA-256.
"""

import base64
import binascii
import hashlib
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from cloud_bridge.access.texts import MOST_BYTES, Text
from cloud_bridge.connectors.fhir_codes import Resource
from wire_format.errors import Rejected

_BASE64_TAKES: Final = 4 / 3


class Attachment(BaseModel):
    """The part of R4's Attachment that is understood. What it points to elsewhere (`url`) is not fetched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str | None = None
    url: str | None = None
    contentType: str | None = Field(default=None, min_length=1)  # noqa: N815 - FHIR's own name
    language: str | None = Field(default=None, min_length=1)
    data: str | None = Field(default=None, min_length=1)
    size: int | None = Field(default=None, strict=True)
    hash: str | None = None
    creation: Any = None  # when somebody made the file; the consent has its own time


def text_attachment(text: Text) -> Resource:
    """Return a text as an attachment."""
    return {
        "contentType": text.content_type,
        **({"language": text.language} if text.language else {}),
        "data": base64.b64encode(text.content).decode(),
        "size": len(text.content),
        "hash": _hash(text.content),
    }


def texts_of(*attachments: Attachment) -> tuple[Text, ...]:
    """Return the texts that attachments carry; raises `Rejected` if one is not what it says of itself."""
    return tuple(_text(one, one.data) for one in attachments if one.data is not None)


def _text(one: Attachment, data: str) -> Text:
    if one.contentType is None:
        raise _refused("it has data, but no contentType")
    if len(data) > MOST_BYTES * _BASE64_TAKES * 1.1:  # with the line ends that base64 may have
        raise _refused(f"it is longer than {MOST_BYTES >> 20} MiB")
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refused("its data is no base64") from error
    if one.size not in {None, len(content)} or one.hash not in {None, _hash(content)}:
        raise _refused("its data has another size or hash (SHA-1, as R4 says) than it says")
    return Text(one.language or "", one.contentType, content)


def _refused(why: str) -> Rejected:
    return Rejected(
        f"This Consent cannot be kept: the text in sourceAttachment is not whole: {why}. Nothing was taken "
        "of it."
    )


def _hash(content: bytes) -> str:
    return base64.b64encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()
