"""CRC-16/MCRF4XX: the end-to-end check of the Bluetooth health services (E2E-CRC), low byte first."""

from typing import Final

_POLYNOMIAL: Final = 0x8408  # 0x1021, bits reversed
_START: Final = 0xFFFF
LENGTH: Final = 2


def mcrf4xx(data: bytes) -> int:
    """Return the check of `data`; that of "123456789" is 0x6F91."""
    crc = _START
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ _POLYNOMIAL if crc & 1 else crc >> 1
    return crc
