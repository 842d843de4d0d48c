"""A radio without hardware: Bumble's virtual link layer, and one controller of it behind a socket.

The devices live in one process and own the link. The agent's process connects to the socket and finds an HCI
controller there, as it would on a serial port. When that process dies its controller goes with it: every
device it was connected to sees a supervision timeout.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from bumble import core, hci, ll
from bumble.controller import Connection, Controller
from bumble.link import LocalLink
from bumble.transport.common import ParserSource, StreamPacketSink

AGENT_ADDRESS: Final = "AA:BB:CC:00:00:01"
SUPERVISION_S: Final = 0.5
_LOST: Final = ll.TerminateInd(hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
_MASKED: Final = (
    hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
    | hci.LeFeatureMask.LL_PRIVACY
)


class Air(LocalLink):
    """The link between all controllers.

    Bumble sends ACL data under the sender's random address, although a connection may have been made under
    its public one; and it hands every advertisement to every controller, also to those that do not listen.
    `deaf` controllers advertise, and hear no connection request: their devices went away at that moment.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Bumble's own is not annotated
        self.deaf: set[Controller] = set()

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: core.PhysicalTransport,
        data: bytes,
    ) -> None:
        """Deliver data under the address that its connection was made with."""
        connection = sender_controller.le_connections.get(destination_address)
        source = connection.self_address if connection else sender_controller.random_address
        peer = self.find_le_controller(destination_address)
        if peer is not None:
            asyncio.get_running_loop().call_soon(peer.on_link_acl_data, source, transport, data)

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        """Deliver an advertisement to whoever listens, a connection request to whom it is for."""
        loop = asyncio.get_running_loop()
        if isinstance(packet, ll.ConnectInd):
            asked = self.find_le_controller(packet.advertiser_address)
            if asked is not None and asked not in self.deaf:
                loop.call_soon(asked.on_ll_advertising_pdu, packet)
            return
        for controller in self.controllers:
            listens = controller.le_scan_enable or controller.pending_le_connection
            if controller is not sender_controller and listens:
                loop.call_soon(controller.on_ll_advertising_pdu, packet)

    def cut(self, controller: Controller) -> None:
        """Take a controller off the air, as when its host lost power."""
        for connection in list(controller.le_connections.values()):
            with suppress(core.InvalidArgumentError):  # the other side is off the air already
                connection.send_ll_control_pdu(_LOST)
        self.remove_controller(controller)

    async def supervise(self) -> None:
        """End connections whose other side does not answer, for ever: the supervision timeout.

        A host that dies while it connects leaves the other side with a connection that nobody else knows of.
        """
        suspected: set[tuple[int, hci.Address]] = set()
        while True:
            await asyncio.sleep(SUPERVISION_S)
            silent = {(c, k.peer_address) for c in self.controllers for k in self._unanswered(c)}
            for controller, peer in silent:
                if (id(controller), peer) in suspected:
                    controller.on_ll_control_pdu(peer, _LOST)
            suspected = {(id(controller), peer) for controller, peer in silent}

    def _unanswered(self, controller: Controller) -> list[Connection]:
        others = [c for c in self.controllers if c is not controller]
        return [
            connection
            for connection in controller.le_connections.values()
            if not any(_holds(other, connection) for other in others)
        ]


def _holds(other: Controller, connection: Connection) -> bool:
    """Tell whether a controller is the other end of a connection."""
    end = other.le_connections.get(connection.self_address)
    return end is not None and end.self_address == connection.peer_address


class _HostPort(asyncio.Protocol):
    """One connection of an agent: a controller that lives as long as it."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._source = ParserSource()
        self._controller: Controller | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sink = StreamPacketSink(transport)  # type: ignore[arg-type]  # a stream transport writes
        self._controller = Controller(
            "agent",
            host_source=self._source,
            host_sink=sink,
            link=self._air,
            public_address=hci.Address(AGENT_ADDRESS, hci.Address.PUBLIC_DEVICE_ADDRESS),
        )
        # With these the host side waits for features that the virtual link layer does not carry out.
        self._controller.le_features &= ~_MASKED

    def data_received(self, data: bytes) -> None:
        self._source.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._controller is not None:
            self._air.cut(self._controller)


async def serve_controller(air: Air, path: Path) -> asyncio.AbstractServer:
    """Offer a controller on a UNIX socket; each connection gets a fresh one."""
    await asyncio.to_thread(path.unlink, missing_ok=True)
    return await asyncio.get_running_loop().create_unix_server(lambda: _HostPort(air), str(path))
