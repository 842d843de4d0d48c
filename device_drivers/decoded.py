"""What one packet says, and what follows from its values alone: the form that every decoder gives.

Whose it is and when it was taken is not asked here (`device_drivers.readings`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from device_drivers.date_time import Stamp
from device_drivers.medfloat import MedFloat
from device_drivers.profile import Decode
from wire_format.measurement import Absent, Component, Context, Failure, Remark
from wire_format.nomenclature import NOMENCLATURE, Quantity, Term, Unit
from wire_format.units import convert

PLAIN: Final = Decode()
"""The rules of a device that keeps to its specification."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one packet says. `sequence` and `offset_minutes` exist for records that a device numbers.

    `position` is what a device counts its memory by, where that is not what makes a record itself.
    `live_within_s` is said of what is sent the moment it is measured, by its own definition: how long before.
    `provisional` says that a better value follows, or that none was measured: of a stream such are not kept.
    """

    quantity: Quantity
    components: tuple[Component, ...]
    context: Context | None = None
    user: int | None = None
    stamp: Stamp | None = None
    failure: Failure | None = None
    remarks: tuple[Remark, ...] = ()
    sequence: int | None = None
    offset_minutes: int | None = None
    context_follows: bool = False
    more_follows: bool = False
    provisional: bool = False
    position: int | None = None
    live_within_s: int | None = None


def component(term: Term, unit: Unit, number: MedFloat) -> Component:
    """Return a component of a medical float, or the reason why it is no value."""
    value = number.value
    if value is None:
        return Component(term=term, unit=unit, absent=number.absent)
    return Component(term=term, unit=unit, value=value)


def order_remarks(parts: Sequence[Component]) -> tuple[Remark, ...]:
    """Say if the diastolic pressure (second) is not below the systolic one (first)."""
    systolic, diastolic = parts[0].value, parts[1].value
    wrong = systolic is not None and diastolic is not None and diastolic >= systolic
    return (Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC,) if wrong else ()


def shape_remarks(*, reserved: bool, trailing: bytes) -> tuple[Remark, ...]:
    """Say what of a packet's form a reader must know."""
    found = ((Remark.RESERVED_BITS, reserved), (Remark.TRAILING_BYTES, bool(trailing)))
    return tuple(remark for remark, present in found if present)


def judged(decoded: Decoded, decode: Decode) -> Decoded:
    """Add what follows from the values alone: sentinels, no result at all, implausible values."""
    components = tuple(_without_sentinel(part, decode) for part in decoded.components)
    failure = decoded.failure
    results = [c for c in components if c.absent not in {Absent.ABOVE_RANGE, Absent.BELOW_RANGE}]
    if failure is None and results and all(c.value is None for c in components):
        failure = Failure.NO_RESULT
    remarks: tuple[Remark, ...] = tuple(r for r in decoded.remarks if r is not Remark.IMPLAUSIBLE)
    if any(_implausible(part, decode) for part in components):
        remarks = (*remarks, Remark.IMPLAUSIBLE)
    return replace(decoded, components=components, failure=failure, remarks=remarks)


def _without_sentinel(part: Component, decode: Decode) -> Component:
    zero = part.value == 0 and part.term in decode.zero_is_absent
    if zero or part.value in decode.absent.get(part.term, ()):
        return Component(term=part.term, unit=part.unit, absent=Absent.NOT_MEASURED)
    return part


def _implausible(part: Component, decode: Decode) -> bool:
    if part.value is None:
        return False
    row = NOMENCLATURE[part.term]
    low, high = decode.plausible.get(part.term, (row.low, row.high))
    return not low <= convert(part.value, part.unit, row.units[0]) <= high
