"""The frozen pydantic base of everything on the wire, and the plain form that its bytes are made of."""

import datetime as dt
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict


class Wire(BaseModel):
    """Immutable, closed (an unknown field is an error), compared by value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _aware(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is None:
        raise ValueError("a moment needs its zone: give UTC")
    return value.astimezone(dt.UTC)


def _naive(value: dt.datetime) -> dt.datetime:
    if value.tzinfo is not None:
        raise ValueError("a device clock has no zone: give the digits as the device said them")
    return value


Utc = Annotated[dt.datetime, AfterValidator(_aware)]
"""A moment in UTC."""

LocalDigits = Annotated[dt.datetime, AfterValidator(_naive)]
"""The digits on a device's clock, without a zone, exactly as given."""


def plain(value: Any) -> Any:  # noqa: ANN401 - any field of any model
    """Turn a wire model into maps, lists and scalars that CBOR carries exactly.

    A field that is None is left out: absent and unknown are one thing on the wire.
    """
    match value:
        case BaseModel():
            fields = type(value).model_fields
            pairs = ((name, getattr(value, name)) for name in fields)
            return {name: plain(item) for name, item in pairs if item is not None}
        case Enum():
            return value.value
        case dt.datetime() if value.tzinfo is None:
            return value.isoformat()
        case tuple() | list():
            return [plain(item) for item in value]
        case None | bool() | int() | str() | bytes() | Decimal() | UUID() | dt.datetime():
            return value
        case _:
            raise TypeError(f"{type(value).__name__} has no place on the wire")
