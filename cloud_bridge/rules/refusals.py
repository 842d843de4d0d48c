"""Why a reading triggers no clinical rule. It stays visible as a reading, with this reason beside it."""

from enum import StrEnum
from typing import Final

from cloud_bridge.rules.base import Reading
from wire_format.measurement import Absent, GlucoseContext, Remark
from wire_format.nomenclature import Quantity, Term


class Refusal(StrEnum):
    """One reason of its own for each kind of reading that rules may not stand on."""

    FAILED = "failed"  # the device says that the measurement did not succeed
    CONTROL_SOLUTION = "control_solution"  # a test of the meter, nobody's blood
    IMPLAUSIBLE = "implausible"  # a value outside of what living people have
    CONTRADICTORY = "contradictory"  # diastolic not below systolic
    REPETITION = "repetition"  # the same bytes shortly before, from a device without a clock
    NO_VALUE = "no_value"  # what the rule needs is absent


NEEDED: Final[dict[Quantity, tuple[Term, ...]]] = {
    Quantity.BLOOD_PRESSURE: (Term.SYSTOLIC, Term.DIASTOLIC),
    Quantity.GLUCOSE: (Term.GLUCOSE,),
    Quantity.BODY_WEIGHT: (Term.BODY_WEIGHT,),
    Quantity.BODY_COMPOSITION: (Term.BODY_WEIGHT,),
    Quantity.PULSE_OXIMETRY: (Term.PULSE_RATE,),
}
"""What a reading of a quantity must have for any rule to stand on it."""

OFF_SCALE: Final = frozenset({Absent.ABOVE_RANGE, Absent.BELOW_RANGE})
"""A glucose meter's HI and LO: there is no number, and what they say is certain all the same."""


def refusal(reading: Reading) -> Refusal | None:
    """Return why no rule may stand on a reading; None if rules may."""
    m = reading.measurement
    checks = (
        (Refusal.CONTROL_SOLUTION, isinstance(m.context, GlucoseContext) and m.context.control_solution),
        (Refusal.FAILED, m.failure is not None),
        (Refusal.CONTRADICTORY, Remark.DIASTOLIC_NOT_BELOW_SYSTOLIC in m.remarks),
        (Refusal.IMPLAUSIBLE, Remark.IMPLAUSIBLE in m.remarks),
        (Refusal.REPETITION, reading.repetition_of is not None),
        (Refusal.NO_VALUE, not all(_said(reading, term) for term in NEEDED.get(m.quantity, ()))),
    )
    return next((reason for reason, applies in checks if applies), None)


def _said(reading: Reading, term: Term) -> bool:
    component = reading.measurement.component(term)
    if component is None:
        return False
    return component.value is not None or (term is Term.GLUCOSE and component.absent in OFF_SCALE)
