"""A desk an hour after a discharge in Shanghai: plans are taken, and judged at once."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

from cloud_bridge.discharge.plan import DischargePlan
from cloud_bridge.discharge.terms import Defaults
from cloud_bridge.store.discharges import TakenPlan
from service_kit.key_files import write_private
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.discharge_plans import DEFAULTS, MADE
from tests.doubles.edge_readings import bridge_keys

HOUR = dt.timedelta(hours=1)


def after_discharge(folder: Path) -> Iterator[BridgeDesk]:
    """For a fixture: the desk, until its test is over."""
    one = BridgeDesk(folder, zone="Asia/Shanghai")
    one.now = MADE + HOUR
    yield one
    one.close()


def take(desk: BridgeDesk, made: DischargePlan, defaults: Defaults = DEFAULTS) -> TakenPlan:
    """Let a plan come in."""
    done = desk.store.discharges.take(made, defaults, "test", desk.now)
    desk.wake()
    return done


def write_config(folder: Path, discharge: str) -> Path:
    """Write what the command needs: a key, and the configuration with a section of what discharges mean."""
    write_private(folder / "bridge.key", bridge_keys())
    path = folder / "bridge.toml"
    path.write_text(f"""
site = "ward"
state = "{folder}"
zone = "Asia/Shanghai"
[keys]
bridge = "{folder}/bridge.key"
[broker]
host = "127.0.0.1"
port = 1883
{discharge}""")
    return path
