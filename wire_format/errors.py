"""Errors named by what the caller does next.

KitelineError
├── Unreachable      try again later; nothing was decided
├── Rejected         set this one item aside; never try it again
│   └── MalformedPacket   bytes that do not follow their layout
├── Untrusted        stop, keep the evidence, raise an alarm
└── Misconfigured    tell a human; no retry will help
"""


class KitelineError(Exception):
    """Base of every error that Kiteline raises on purpose."""


class Unreachable(KitelineError):  # noqa: N818 - the name says what is true, not that it is an error
    """The other side did not answer. Try again later; nothing was decided."""


class Rejected(KitelineError):  # noqa: N818 - as above
    """This item can never be accepted as it is. Quarantine it with its bytes; do not try again."""


class MalformedPacket(Rejected):
    """Bytes that do not follow the layout of their characteristic or protocol."""


class Untrusted(KitelineError):  # noqa: N818 - as above
    """A signature, key or chain does not hold. Stop, keep the evidence, raise an alarm."""


class Misconfigured(KitelineError):  # noqa: N818 - as above
    """Configuration or installation is wrong. A human must act; no retry will help."""
