"""Virtual devices over a virtual radio: short advertisers beside slow devices, and devices that forget."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bumble.pairing import PairingConfig, PairingDelegate

from device_drivers.profile import DeviceProfile, Link, Passkey
from edge_agent.bond_doctor import LinkFailed
from edge_agent.config import Visits
from edge_agent.pairing_desk import Order
from edge_agent.passkeys import FixedPasskey
from edge_agent.steps import Step
from tests.doubles.bluez_gateway import until
from tests.doubles.virtual_gateway import Street, street
from virtual_home.scenario import DeviceEntry, Scenario, numbered_device
from wire_format.statements import DeviceEventKind

RECORDS = 60


def entry(number: int, key: str, kind: str, **habits: Any) -> DeviceEntry:
    return numbered_device(number, key, kind).model_copy(update=habits)


def scenario(*entries: DeviceEntry) -> Scenario:
    return Scenario(title="A few devices", seed=1, devices=entries)


def patient(profile: DeviceProfile) -> DeviceProfile:
    """A profile that lets the device say when it is done."""
    records = profile.records.model_copy(update={"idle_s": 30, "first_s": 30})
    return profile.model_copy(update={"records": records})


def sent_by(one: Street, key: str) -> int:
    address = one.devices.devices[key].spec.address
    return sum(m.device.address == address for m in one.measurements())


async def test_a_short_advertiser_is_read_while_others_are_being_read(tmp_path: Path) -> None:
    everything = scenario(
        entry(1, "slow", "cuff", closes_after_s=60.0),
        entry(2, "keeper", "glucose_meter"),
        entry(3, "short", "scale", advertises_s=6.0),
        entry(4, "short too", "thermometer", advertises_s=6.0),
    )
    async with street(tmp_path, everything, change=patient, patience=Visits(rest_s=0.1)) as one:
        await one.devices.measure("slow", {})
        await until(lambda: sent_by(one, "slow") == 1)
        for _ in range(RECORDS):
            await one.devices.measure("keeper", {})
        await asyncio.gather(one.devices.measure("short", {}), one.devices.measure("short too", {}))
        await until(lambda: sent_by(one, "short") == sent_by(one, "short too") == 1)
        ended = [facts["profile"] for step, facts in one.steps if step is Step.VISIT_ENDED]
        assert "standard/blood_pressure" not in ended
        assert one.visitor.links >= 1
        await until(lambda: sent_by(one, "keeper") == RECORDS)


async def test_with_all_links_taken_by_devices_that_advertise_all_day_one_is_kept(tmp_path: Path) -> None:
    everything = scenario(
        entry(1, "a", "cuff", closes_after_s=0.0),
        entry(2, "b", "cuff", closes_after_s=0.0),
        entry(3, "short", "scale", advertises_s=6.0),
    )
    async with street(tmp_path, everything, patience=Visits(rest_s=0, links=2)) as one:
        for key in ("a", "b"):
            await one.devices.measure(key, {})
        await until(lambda: sent_by(one, "a") == sent_by(one, "b") == 1)
        await one.devices.measure("short", {})
        await until(lambda: sent_by(one, "short") == 1)


async def test_a_device_that_forgot_is_refused_and_said(tmp_path: Path) -> None:
    everything = scenario(entry(1, "cuff", "cuff"))
    async with street(tmp_path, everything, fast=True) as one:
        await one.devices.measure("cuff", {})
        await until(lambda: sent_by(one, "cuff") == 1 and not one.visitor.links)
        await one.devices.devices["cuff"].forget_bonds()
        await one.devices.measure("cuff", {})
        await until(lambda: DeviceEventKind.BOND_LOST in one.events(), 30)
        assert sent_by(one, "cuff") == 1
        assert one.devices.devices["cuff"].device.keystore is not None
        assert await one.devices.devices["cuff"].device.keystore.get_all() == []
        address = one.devices.devices["cuff"].spec.address
        assert await one.radio.holds(address)
        # An installer stands beside it and consents.
        one.visitor.close()
        order = Order(address, "p-1", replace_bond=True)
        await one.desk.pair(order, FixedPasskey(0))
        assert await one.devices.devices["cuff"].device.keystore.get_all() != []


async def test_with_consent_beforehand_it_heals(tmp_path: Path) -> None:
    everything = scenario(entry(1, "cuff", "cuff"))
    async with street(tmp_path, everything, fast=True, stale=True) as one:
        await one.devices.measure("cuff", {})
        await until(lambda: sent_by(one, "cuff") == 1 and not one.visitor.links)
        await one.devices.devices["cuff"].forget_bonds()
        await one.devices.measure("cuff", {})
        await until(lambda: sent_by(one, "cuff") == 2, 30)


class Display(PairingDelegate):
    """A device that shows a passkey."""

    def __init__(self) -> None:
        super().__init__(PairingDelegate.IoCapability.DISPLAY_OUTPUT_ONLY)
        self.shown: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def display_number(self, number: int, digits: int) -> None:
        del digits
        self.shown.set_result(number)


def shows_passkey(profile: DeviceProfile) -> DeviceProfile:
    return profile.model_copy(update={"link": Link(agent="KeyboardOnly", passkey=Passkey.DEVICE_DISPLAY)})


class Reader:
    """Somebody who reads the device's display, rightly or not."""

    def __init__(self, display: Display, *, wrong: bool = False) -> None:
        self._display, self._wrong = display, wrong

    async def passkey(self) -> int | None:
        shown = await self._display.shown
        return (shown + 1) % 1_000_000 if self._wrong else shown

    async def same(self, shown: int) -> bool:
        raise AssertionError(f"nothing was to be compared, not {shown}")

    async def show(self, passkey: int) -> None:
        raise AssertionError(f"nothing was to be shown, not {passkey}")


@pytest.mark.parametrize("wrong", [False, True])
async def test_a_passkey_from_the_display_is_proven_on_the_air(tmp_path: Path, wrong: bool) -> None:
    everything = scenario(entry(1, "cuff", "cuff"))
    async with street(tmp_path, everything, adopt=False, change=shows_passkey) as one:
        cuff, display = one.devices.devices["cuff"], Display()
        cuff.device.pairing_config_factory = lambda _: PairingConfig(
            sc=True, mitm=True, bonding=True, delegate=display
        )
        await one.devices.measure("cuff", {})
        await until(lambda: bool(one.desk.offers()))
        pairing = one.desk.pair(Order(cuff.spec.address, "p-1"), Reader(display, wrong=wrong))
        if wrong:
            with pytest.raises(LinkFailed):
                await pairing
            assert not await one.radio.holds(cuff.spec.address)
        else:
            assert (await pairing).bonded_at is not None
            await until(lambda: sent_by(one, "cuff") == 1)
