"""What the gateway knows of the time. A gateway without NTP and without a battery says that it does not know.

Monotonic time is CLOCK_BOOTTIME, which also counts while the machine sleeps.
"""

import ctypes
import datetime as dt
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from device_drivers.driver import GatewayTime
from wire_format.errors import Misconfigured
from wire_format.identity import derived_id
from wire_format.measurement import Instant
from wire_format.statements import Redating

BUILT: Final = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""No gateway runs this software before it was written: an earlier clock was never set."""

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5

Uncertainty = Callable[[], int | None]
"""Milliseconds by which the system clock may be off; None if nobody knows."""


class _Timex(ctypes.Structure):
    """`struct timex` of <sys/timex.h> (64-bit Linux), with room for the fields that are not read."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


def kernel_uncertainty() -> int | None:
    """Return the kernel's own bound in milliseconds, kept by the NTP client; None while unsynchronised."""
    timex = _Timex(modes=0)
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex))
    if state < 0 or state == _TIME_ERROR or timex.status & _STA_UNSYNC:
        return None
    return -(-int(timex.maxerror) // 1000)


def vouched(uncertainty_ms: int) -> Uncertainty:
    """Return the word of whoever configured the gateway: its clock is right within so much."""
    return lambda: uncertainty_ms


def system_boot_id() -> UUID:
    """Return the kernel's id of this boot."""
    try:
        return UUID(_BOOT_ID.read_text().strip())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{_BOOT_ID} gives no boot id: set `boot_id` in the configuration.") from error


@dataclass(frozen=True, slots=True)
class GatewayClock:
    """The clock of this gateway in this boot."""

    boot_id: UUID
    uncertainty: Uncertainty = kernel_uncertainty
    utc: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    monotonic_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now(self) -> GatewayTime:
        """Return the time, and how sure it is."""
        utc = self.utc()
        bound = self.uncertainty() if utc >= BUILT else None
        return GatewayTime(utc=utc, uncertainty_ms=bound, monotonic_ns=self.monotonic_ns())

    def utc_if_known(self) -> dt.datetime | None:
        """Return the time, or None while it is not known."""
        now = self.now()
        return None if now.uncertainty_ms is None else now.utc

    def anchor(self, author: str) -> Redating | None:
        """Return the statement that ties this boot's monotonic clock to UTC; None while that is unknown."""
        now = self.now()
        if now.uncertainty_ms is None:
            return None
        return Redating(
            statement_id=derived_id("anchor", author, self.boot_id, now.monotonic_ns),
            moment=Instant(utc=now.utc, uncertainty_ms=now.uncertainty_ms),
            author=author,
            stated_at=now.utc,
            reason="the gateway learned the time of this boot",
            boot_id=self.boot_id,
            monotonic_ns=now.monotonic_ns,
        )


def zone_offset_minutes(moment: dt.datetime) -> int:
    """Return the home's offset from UTC, as the system's zone has it at `moment`."""
    local = moment.astimezone().utcoffset()
    return 0 if local is None else int(local.total_seconds() // 60)


def zone_is_known() -> bool:
    """Tell whether a zone was set on this machine at all."""
    return Path("/etc/localtime").exists() or "TZ" in os.environ
