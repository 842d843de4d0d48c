"""ADT^A03 messages of one invented patient, as an interface engine writes them, and ways to make them odd."""

import datetime as dt

from tests.doubles.discharge_plans import MADE


def a03(
    *,
    control_id: str = "A1",
    made: dt.datetime = MADE,
    diagnosis: str = "DG1|1||I10^Essential hypertension^I10|||F",
    more: tuple[str, ...] = (),
    changes: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """Return one message, without framing; `changes` replace text in it."""
    at = f"{made:%Y%m%d%H%M%S}+0000"
    message = f"MSH|^~\\&|HIS|HOSP|KITELINE|WARD|{at}||ADT^A03^ADT_A03|{control_id}|P|2.5"
    visit = "PV1|1|I" + "|" * 5 + "physician-1^^^^^^^^STAFF" + "|" * 12 + "stay-1^^^VISITS"
    segments = (
        f"{message}|||AL|NE||UNICODE UTF-8",
        f"EVN|A03|{at}",
        "PID|1||42^^^HOSP^MR~310^^^NATIONAL^NI||^^^^^^U||||||||||zh-CN",
        "ROL|1|AD|PP|doctor-7^^^^^^^^STAFF",
        f"{visit}{'|' * 26}20261124100000+0800",
        diagnosis,
        *more,
    )
    text = "\r".join(segments) + "\r"
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    return text.encode()


def framed(message: bytes) -> bytes:
    """Return a message as MLLP has it."""
    return b"\x0b" + message + b"\x1c\r"
