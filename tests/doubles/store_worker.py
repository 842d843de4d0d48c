"""One worker of a bridge in a process of its own: takes the inbox, then claims and marks deliveries.

Waits for a line on its standard input, so that several begin together. Says what it delivered, one JSON
list a line. With KILL_AT it ends by SIGKILL within its n-th transaction, everything written, nothing
committed.
"""

import datetime as dt
import itertools
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cloud_bridge.ingest import Ingest
from cloud_bridge.steps import Step
from cloud_bridge.store.sql import SqlStore
from service_kit.key_files import read_private
from wire_format.downlink import DownlinkHeader, Message, seal_downlink
from wire_format.keys import BridgeKeys, SealKey

PATIENCE_S: Final = 60.0


def main(url: str, key_file: str, now_text: str, kill_at: str) -> None:
    keys, now = read_private(Path(key_file), BridgeKeys), dt.datetime.fromisoformat(now_text)
    written = itertools.count(1)

    def deadly(step: Step, _facts: Mapping[str, object]) -> None:
        if step is Step.INGEST_WRITTEN and next(written) == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)  # let the others come in between

    def sealer(message: Message, header: DownlinkHeader, recipient: SealKey) -> bytes:
        return seal_downlink(message, header, keys.messages, recipient)

    store = SqlStore(url, sealer, ("fhir", "hl7v2"))
    ingest = Ingest(store.intake, store.registry, keys.by_id, lambda: now, deadly)
    say("ready")
    sys.stdin.readline()
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        taken = store.intake.waiting(50)
        random.Random(os.getpid()).shuffle(taken)  # noqa: S311 - not all at the same one
        for message in taken[:5]:
            ingest.take(message)
        claimed = store.deliveries.claim_deliveries(now, 3)
        for one in claimed:
            assert store.deliveries.load(one, now) is not None
            store.deliveries.mark_delivered(one, now)
            say([one.key.kind, str(one.key.subject), one.key.destination, one.wanted])
        if not taken and not claimed and not store.deliveries.waiting() and not store.counts()["inbox"]:
            break
    store.close()


def say(what: object) -> None:
    print(json.dumps(what), flush=True)  # noqa: T201 - a program: what it prints is its result


if __name__ == "__main__":
    main(*sys.argv[1:])
