"""A system bus of one test's own: dbus-daemon on a UNIX socket, ended with the test."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

_CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def require_dbus_daemon() -> None:
    """Skip by name where there is none."""
    if shutil.which("dbus-daemon") is None:
        pytest.skip("dbus-daemon is missing: apt-get install dbus-daemon", allow_module_level=True)


@asynccontextmanager
async def private_bus(folder: Path) -> AsyncIterator[str]:
    """Run a bus in `folder`, and make it the system bus of this process meanwhile; gives its address."""
    socket, configuration = folder / "bus", folder / "bus.conf"
    configuration.write_text(_CONFIGURATION.format(socket=socket))
    daemon = await asyncio.create_subprocess_exec(
        "dbus-daemon", f"--config-file={configuration}", "--nofork", "--nopidfile", "--nosyslog"
    )
    before = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS")
    os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={socket}"
    try:
        async with asyncio.timeout(10):
            while not await _listens(socket):
                assert daemon.returncode is None, "dbus-daemon ended at once"
                await asyncio.sleep(0.01)
        yield os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
    finally:
        if before is None:
            del os.environ["DBUS_SYSTEM_BUS_ADDRESS"]
        else:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = before
        if daemon.returncode is None:
            daemon.terminate()
        await daemon.wait()


async def _listens(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    return True
