"""Signature of a webhook: who sent it, unaltered, and not long ago. Pure; receivers may copy it.

`Kiteline-Signature: t=<seconds since 1970>,v1=<hex>`, where v1 is HMAC-SHA-256 over `<t>.<body>`. A receiver
refuses what is older than its window, and keeps the delivery ids of that window to refuse a replay within it.
"""

import hashlib
import hmac
import re
from typing import Final

HEADER: Final = "Kiteline-Signature"
DELIVERY_HEADER: Final = "Kiteline-Delivery"
WINDOW_S: Final = 300
LEAST_SECRET_BYTES: Final = 32
_FORM: Final = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64})+)")


def sign(secrets: tuple[bytes, ...], body: bytes, at: int) -> str:
    """Return the header's value; with two secrets (while one is renewed) both signatures are given."""
    return ",".join([f"t={at}", *(f"v1={_digest(secret, body, at)}" for secret in secrets)])


def verify(secret: bytes, header: str, body: bytes, now: int, *, window_s: int = WINDOW_S) -> bool:
    """Tell whether `body` was signed with `secret` within the window around `now`."""
    found = _FORM.fullmatch(header)
    if found is None or abs(now - int(found[1])) > window_s:
        return False
    right = _digest(secret, body, int(found[1]))
    return any(hmac.compare_digest(right, one.removeprefix("v1=")) for one in found[2].split(",") if one)


def _digest(secret: bytes, body: bytes, at: int) -> str:
    return hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
