"""A slice of `make fuzz`: damaged packets give values or `MalformedPacket`, nothing else."""

from collections import Counter

import pytest

from tests.fuzz import decoders
from tests.fuzz.decoders import fuzz
from wire_format.errors import MalformedPacket


def test_damaged_packets_are_values_or_malformed() -> None:
    found = fuzz(150_000, seed=7)
    assert sum(found.values()) == 150_000
    assert min(found["values"], found["malformed"]) > 10_000


@pytest.mark.parametrize("error", [IndexError, ZeroDivisionError, MalformedPacket])
def test_a_decoder_that_raises_something_else_is_found(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def broken(_data: bytes) -> object:
        raise error("x")

    monkeypatch.setattr(decoders, "targets", lambda: [broken])
    if error is MalformedPacket:
        assert fuzz(10, seed=1) == Counter(malformed=10)
    else:
        with pytest.raises(AssertionError, match=error.__name__):
            fuzz(10, seed=1)
