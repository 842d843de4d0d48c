"""A program as anybody would write it, on bleak alone: find a device by name, connect, bond. In the machine.

It registers no pairing agent. It prints what became of it: "bonded", or the error's class and words.
"""

import asyncio
import sys

from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError

PATIENCE_S = 30


async def main(name: str) -> str:
    device = await BleakScanner.find_device_by_name(name, timeout=PATIENCE_S)
    if device is None:
        return "not heard"
    try:
        async with BleakClient(device, timeout=PATIENCE_S) as client:
            await client.pair()
    except BleakError as error:
        return f"{type(error).__name__}: {error}"
    return "bonded"


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1])))
