"""A body composition in two packets: what neither of them gives a value for stays absent."""

from dataclasses import replace

from device_drivers.decoding import Decoded, join
from wire_format.measurement import Absent, Component
from wire_format.nomenclature import Quantity, Term, Unit

FAT = Component.model_validate({"term": Term.BODY_FAT, "unit": Unit.PERCENT, "value": "20"})
NO_FAT = Component(term=Term.BODY_FAT, unit=Unit.PERCENT, absent=Absent.NOT_MEASURED)
NO_OHM = Component(term=Term.IMPEDANCE, unit=Unit.OHM, absent=Absent.NOT_MEASURED)
OHM = Component.model_validate({"term": Term.IMPEDANCE, "unit": Unit.OHM, "value": "452"})
FIRST = Decoded(Quantity.BODY_COMPOSITION, (NO_FAT, NO_OHM))


def test_an_absent_part_that_is_not_said_again_stays_absent() -> None:
    joined = join(FIRST, Decoded(Quantity.BODY_COMPOSITION, (FAT,)))
    assert joined.components == (FAT, NO_OHM)


def test_a_value_beats_an_absence_and_the_first_value_the_second() -> None:
    assert join(FIRST, Decoded(Quantity.BODY_COMPOSITION, (NO_FAT, OHM))).components == (NO_FAT, OHM)
    other = FAT.model_copy(update={"value": OHM.value})
    valued = replace(FIRST, components=(FAT,))
    assert join(valued, Decoded(Quantity.BODY_COMPOSITION, (other,))).components == (FAT,)
