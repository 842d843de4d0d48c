"""One row per term: IEEE 11073-10101 (MDC), LOINC and UCUM, with the range in which a value is plausible.

A code that we could not verify is absent, not guessed: `mdc=None` or an empty `loinc` say so.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final


class Unit(StrEnum):
    """UCUM units that devices report in."""

    MMHG = "mm[Hg]"
    KPA = "kPa"
    PER_MINUTE = "/min"
    MMOL_PER_L = "mmol/L"
    MG_PER_DL = "mg/dL"
    KG = "kg"
    POUND = "[lb_av]"
    JIN = "kg/2"  # the market jin, exactly half a kilogram; UCUM has no symbol of its own for it
    METRE = "m"
    INCH = "[in_i]"
    PERCENT = "%"
    CELSIUS = "Cel"
    FAHRENHEIT = "[degF]"
    KG_PER_M2 = "kg/m2"
    OHM = "Ohm"
    KILOJOULE = "kJ"
    SECOND = "s"
    MG_PER_DL_PER_MINUTE = "mg/dL/min"


class Quantity(StrEnum):
    """What one measurement is about; one act of measuring gives one measurement."""

    BLOOD_PRESSURE = "blood_pressure"
    GLUCOSE = "glucose"
    BODY_WEIGHT = "body_weight"
    BODY_COMPOSITION = "body_composition"
    BODY_TEMPERATURE = "body_temperature"
    PULSE_OXIMETRY = "pulse_oximetry"
    CONTINUOUS_GLUCOSE = "continuous_glucose"  # of interstitial fluid, one of a session's many readings
    PULSE_RATE = "pulse_rate"  # on its own, as a generic sensor may give it


class Term(StrEnum):
    """What one component of a measurement says."""

    SYSTOLIC = "systolic"
    DIASTOLIC = "diastolic"
    MEAN_ARTERIAL = "mean_arterial"
    PULSE_RATE = "pulse_rate"
    GLUCOSE = "glucose"
    KETONE = "ketone"
    BODY_WEIGHT = "body_weight"
    BODY_HEIGHT = "body_height"
    BODY_MASS_INDEX = "body_mass_index"
    BODY_FAT = "body_fat"
    MUSCLE_PERCENTAGE = "muscle_percentage"
    MUSCLE_MASS = "muscle_mass"
    FAT_FREE_MASS = "fat_free_mass"
    SOFT_LEAN_MASS = "soft_lean_mass"
    BODY_WATER_MASS = "body_water_mass"
    IMPEDANCE = "impedance"
    IMPEDANCE_SECOND = "impedance_second"  # of a scale that measures at two frequencies
    BASAL_METABOLISM = "basal_metabolism"
    BODY_TEMPERATURE = "body_temperature"
    OXYGEN_SATURATION = "oxygen_saturation"
    PULSE_AMPLITUDE_INDEX = "pulse_amplitude_index"
    OXYGEN_SATURATION_FAST = "oxygen_saturation_fast"
    OXYGEN_SATURATION_SLOW = "oxygen_saturation_slow"
    PULSE_RATE_FAST = "pulse_rate_fast"
    PULSE_RATE_SLOW = "pulse_rate_slow"
    GLUCOSE_TREND = "glucose_trend"
    GLUCOSE_QUALITY = "glucose_quality"


@dataclass(frozen=True, slots=True)
class Row:
    """One term in the field's vocabularies.

    `units` are the units in which a device may state it, the canonical one first; `low` and `high` bound
    what is plausible in a living person, in the canonical unit, inclusive. Outside of it a value is kept
    and marked, never changed.
    """

    mdc: int | None
    mdc_name: str | None
    loinc: tuple[str, ...]
    units: tuple[Unit, ...]
    low: Decimal
    high: Decimal


def _row(  # noqa: PLR0913, PLR0917 - a table row has its columns
    mdc: int | None, name: str | None, loinc: tuple[str, ...], units: tuple[Unit, ...], low: str, high: str
) -> Row:
    return Row(mdc, name, loinc, units, Decimal(low), Decimal(high))


_PRESSURE: Final = (Unit.MMHG, Unit.KPA)
_MASS: Final = (Unit.KG, Unit.POUND)

PANEL_BLOOD_PRESSURE: Final = (150020, "MDC_PRESS_BLD_NONINV", "85354-9")
"""The compound blood pressure: MDC code, its name, and the LOINC panel."""

NOMENCLATURE: Final[dict[Term, Row]] = {
    Term.SYSTOLIC: _row(150021, "MDC_PRESS_BLD_NONINV_SYS", ("8480-6",), _PRESSURE, "40", "300"),
    Term.DIASTOLIC: _row(150022, "MDC_PRESS_BLD_NONINV_DIA", ("8462-4",), _PRESSURE, "20", "200"),
    Term.MEAN_ARTERIAL: _row(150023, "MDC_PRESS_BLD_NONINV_MEAN", ("8478-0",), _PRESSURE, "25", "250"),
    Term.PULSE_RATE: _row(149546, "MDC_PULS_RATE_NON_INV", ("8867-4",), (Unit.PER_MINUTE,), "20", "250"),
    # The specimen decides the exact code (GlucoseContext.specimen); this is undetermined plasma.
    Term.GLUCOSE: _row(
        160368, "MDC_CONC_GLU_UNDETERMINED_PLASMA", (), (Unit.MMOL_PER_L, Unit.MG_PER_DL), "0.5", "50"
    ),
    Term.KETONE: _row(None, None, (), (Unit.MMOL_PER_L,), "0", "15"),
    Term.BODY_WEIGHT: _row(188736, "MDC_MASS_BODY_ACTUAL", ("29463-7",), (*_MASS, Unit.JIN), "2", "400"),
    Term.BODY_HEIGHT: _row(188740, "MDC_LEN_BODY_ACTUAL", ("8302-2",), (Unit.METRE, Unit.INCH), "0.4", "2.6"),
    Term.BODY_MASS_INDEX: _row(
        188752, "MDC_RATIO_MASS_BODY_LEN_SQ", ("39156-5",), (Unit.KG_PER_M2,), "8", "120"
    ),
    Term.BODY_FAT: _row(188748, "MDC_BODY_FAT", ("41982-0",), (Unit.PERCENT,), "1", "75"),
    Term.MUSCLE_PERCENTAGE: _row(None, None, (), (Unit.PERCENT,), "5", "95"),
    Term.MUSCLE_MASS: _row(None, None, (), _MASS, "1", "200"),
    Term.FAT_FREE_MASS: _row(188756, "MDC_MASS_BODY_FAT_FREE", (), _MASS, "1", "250"),
    Term.SOFT_LEAN_MASS: _row(188760, "MDC_MASS_BODY_SOFT_LEAN", (), _MASS, "1", "250"),
    Term.BODY_WATER_MASS: _row(188764, "MDC_BODY_WATER", (), _MASS, "1", "200"),
    Term.IMPEDANCE: _row(None, None, (), (Unit.OHM,), "50", "2000"),
    Term.IMPEDANCE_SECOND: _row(None, None, (), (Unit.OHM,), "50", "2000"),
    Term.BASAL_METABOLISM: _row(None, None, (), (Unit.KILOJOULE,), "1000", "30000"),
    Term.BODY_TEMPERATURE: _row(
        150364, "MDC_TEMP_BODY", ("8310-5",), (Unit.CELSIUS, Unit.FAHRENHEIT), "25", "45"
    ),
    Term.OXYGEN_SATURATION: _row(
        150456, "MDC_PULS_OXIM_SAT_O2", ("59408-5", "2708-6"), (Unit.PERCENT,), "40", "100"
    ),
    Term.PULSE_AMPLITUDE_INDEX: _row(None, None, (), (Unit.PERCENT,), "0", "20"),
    Term.OXYGEN_SATURATION_FAST: _row(None, None, (), (Unit.PERCENT,), "40", "100"),
    Term.OXYGEN_SATURATION_SLOW: _row(None, None, (), (Unit.PERCENT,), "40", "100"),
    Term.PULSE_RATE_FAST: _row(None, None, (), (Unit.PER_MINUTE,), "20", "250"),
    Term.PULSE_RATE_SLOW: _row(None, None, (), (Unit.PER_MINUTE,), "20", "250"),
    Term.GLUCOSE_TREND: _row(None, None, (), (Unit.MG_PER_DL_PER_MINUTE,), "-20", "20"),
    Term.GLUCOSE_QUALITY: _row(None, None, (), (Unit.PERCENT,), "0", "100"),
}
