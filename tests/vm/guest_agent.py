"""The person at the gateway, as BlueZ asks them: `org.bluez.Agent1`. Each question is told to the host."""

from collections.abc import Callable
from typing import Any

from dbus_fast import DBusError
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

AGENT = "/kiteline/tests/agent"


class Agent(ServiceInterface):
    """Types what is in `passkeys`, confirms everything else that belongs to Low Energy."""

    def __init__(self, say: Callable[[dict[str, Any]], None]) -> None:
        super().__init__("org.bluez.Agent1")
        self.say = say
        self.passkeys: dict[str, int] = {}

    def asked(self, what: str, device: str, **more: Any) -> str:
        address = device[-17:].replace("_", ":")
        self.say({"event": "asked", "what": what, "address": address, **more})
        return address

    @dbus_method(name="Release")
    def release(self) -> None:
        self.say({"event": "asked", "what": "release"})

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        self.say({"event": "asked", "what": "cancel"})

    @dbus_method(name="RequestPasskey")
    def request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        address = self.asked("passkey", device)
        if address not in self.passkeys:
            raise DBusError("org.bluez.Error.Rejected", "nobody knows a passkey")
        return self.passkeys[address]

    @dbus_method(name="DisplayPasskey")
    def display_passkey(self, device: DBusObjectPath, passkey: DBusUInt32, entered: DBusUInt16) -> None:
        self.asked("show", device, passkey=passkey, entered=entered)

    @dbus_method(name="RequestConfirmation")
    def request_confirmation(self, device: DBusObjectPath, passkey: DBusUInt32) -> None:
        self.asked("confirm", device, passkey=passkey)

    @dbus_method(name="RequestAuthorization")
    def request_authorization(self, device: DBusObjectPath) -> None:
        self.asked("authorize", device)

    @dbus_method(name="AuthorizeService")
    def authorize_service(self, device: DBusObjectPath, uuid: DBusStr) -> None:
        self.asked("service", device, uuid=uuid)
