"""Exact conversion between units, in decimal arithmetic. An unknown pair raises.

The device's own value and unit are what is kept and sent; a converted value is derived, never stored in
place of it.
"""

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Final

from wire_format.errors import Rejected
from wire_format.nomenclature import Unit

PRECISION: Final = 28
"""Significant digits of a division; products of terminating factors are exact."""

GLUCOSE_MG_DL_PER_MMOL_L: Final = Decimal("18.0156")
MMHG_PER_KPA: Final = Decimal("7.50062")
KG_PER_POUND: Final = Decimal("0.45359237")
METRE_PER_INCH: Final = Decimal("0.0254")

_CONVERSIONS: Final[dict[tuple[Unit, Unit], Callable[[Decimal], Decimal]]] = {
    (Unit.KPA, Unit.MMHG): lambda v: v * MMHG_PER_KPA,
    (Unit.MMHG, Unit.KPA): lambda v: v / MMHG_PER_KPA,
    (Unit.MG_PER_DL, Unit.MMOL_PER_L): lambda v: v / GLUCOSE_MG_DL_PER_MMOL_L,
    (Unit.MMOL_PER_L, Unit.MG_PER_DL): lambda v: v * GLUCOSE_MG_DL_PER_MMOL_L,
    (Unit.POUND, Unit.KG): lambda v: v * KG_PER_POUND,
    (Unit.KG, Unit.POUND): lambda v: v / KG_PER_POUND,
    (Unit.JIN, Unit.KG): lambda v: v / 2,
    (Unit.KG, Unit.JIN): lambda v: v * 2,
    (Unit.INCH, Unit.METRE): lambda v: v * METRE_PER_INCH,
    (Unit.METRE, Unit.INCH): lambda v: v / METRE_PER_INCH,
    (Unit.FAHRENHEIT, Unit.CELSIUS): lambda v: (v - 32) * 5 / 9,
    (Unit.CELSIUS, Unit.FAHRENHEIT): lambda v: v * 9 / 5 + 32,
}


def convert(value: Decimal, unit: Unit, to: Unit) -> Decimal:
    """Return `value` of `unit` in `to`, unrounded (28 significant digits).

    Raises `Rejected` for a pair that has no conversion.
    """
    if unit is to:
        return value
    try:
        conversion = _CONVERSIONS[unit, to]
    except KeyError:
        raise Rejected(
            f"There is no conversion from {unit.value} to {to.value}: correct the device profile."
        ) from None
    with localcontext(prec=PRECISION):
        return conversion(value)
