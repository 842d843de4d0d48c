"""User Data Service: asking for the data of the user slots whose consent codes the home knows.

Only consent is ever asked for. A user is registered, and deleted, by the people at home and the device's own
application: the gateway changes nobody's profile.
"""

import asyncio
from typing import Final

from device_drivers.driver import Visit
from device_drivers.events import device_event
from device_drivers.link import GattLink, uuid16
from device_drivers.quantities.user_data import UserControl, UserOpCode, UserResult
from device_drivers.silence import answered
from wire_format.errors import MalformedPacket, Misconfigured, Rejected
from wire_format.statements import DeviceEventKind

CONTROL_POINT: Final = uuid16(0x2A9F)
ANSWER_S: Final = 5.0
"""How long a device may take to answer; some do not answer at all while they sleep."""

_REASONS: Final[dict[int, str]] = {
    UserResult.OP_CODE_NOT_SUPPORTED: "it knows no consent",
    UserResult.INVALID_PARAMETER: "there is no such slot",
    UserResult.OPERATION_FAILED: "the operation failed",
    UserResult.USER_NOT_AUTHORISED: "the code is not that of this slot",
}
_ADVICE: Final = (
    "Read slot and code off the device or its application and write them as slot and consent_code of its "
    "[[device]] section. After a change of batteries the users must be made anew."
)


class ConsentRefused(Rejected):
    """No slot took the code that the home gave: nobody's readings can be asked for."""


class ConsentDesk:
    """The control point of one connection. A driver may know more of its maker: see `admitted`."""

    def __init__(self, link: GattLink, visit: Visit) -> None:
        self.link, self.visit = link, visit
        self._answers: asyncio.Queue[UserControl] = asyncio.Queue()

    async def open(self) -> None:
        """Listen to the control point. Raises `Misconfigured` if nobody gave a code, or there is no such."""
        if not self.visit.consents:
            raise Misconfigured(
                "This device gives readings only to whom knows a user's consent code: "
                "write slot and consent_code in its [[device]] section."
            )
        if CONTROL_POINT not in self.link.characteristics():
            raise Misconfigured(
                f"The device has no User Data Service: the profile {self.visit.profile.name} is not "
                "the right one for it."
            )
        await self.link.subscribe(CONTROL_POINT, self._heard)

    async def admit(self, slot: int, code: int) -> bool:
        """Ask for the data of one slot; a refusal is told as an event that says what to do."""
        await self.link.write(CONTROL_POINT, bytes(UserControl.consent(slot, code)))
        result = await self._result()
        if result is None:
            self._tell(slot, "it did not answer")
            return False
        if result != UserResult.SUCCESS:
            self._tell(slot, _REASONS.get(result, f"response value {result}"))
            return False
        await self.admitted()
        return True

    async def admitted(self) -> None:
        """Do what a maker's device wants after consent, before it sends anything."""

    def users_lost(self) -> bool:
        """Tell whether the device said that it has no users at all."""
        return False

    def _heard(self, data: bytes) -> None:
        try:
            self._answers.put_nowait(UserControl.from_bytes(data))
        except MalformedPacket:
            return  # no answer: the wait for one ends by itself, and is told

    async def _result(self) -> int | None:
        """Wait for the answer: None if none came; raises `LinkLost` if the device closed instead."""
        answer = asyncio.ensure_future(self._answer())
        gone = "The device ended the connection before it had answered."
        try:
            return answer.result() if await answered(self.link, answer, ANSWER_S, gone) else None
        finally:
            answer.cancel()

    async def _answer(self) -> int:
        while True:
            answer = await self._answers.get()
            if answer.request == UserOpCode.CONSENT and answer.result is not None:
                return answer.result

    def _tell(self, slot: int, why: str) -> None:
        visit = self.visit
        lost = self.users_lost()
        kind = DeviceEventKind.USERS_LOST if lost else DeviceEventKind.CONSENT_REFUSED
        what = "The device has no users any more" if lost else f"Slot {slot} was not opened: {why}"
        parts = (visit.boot_id, visit.number, slot)
        visit.sink.commit([device_event(visit, kind, *parts, detail=f"{what}. {_ADVICE}")])
