"""What must hold on a real kernel and a real bluetoothd, one function each; the table is at the end.

Each uses devices of its own and leaves bluetoothd, adapter, pairing agent and gateway as it found them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.vm.confirmation import confirmed_before_the_handler, killed_before_the_handler
from tests.vm.home_devices import MANY, NEIGHBOUR
from tests.vm.rig import Failed, Kept, Rig
from wire_format.measurement import ClockTrust
from wire_format.statements import DeviceEventKind

BP = {"systolic": 131, "diastolic": 83, "pulse": 71}
RECORDS = 100
BURST = 5
QUIET_S = 4.0


async def measured(rig: Rig, key: str, **values: object) -> list[Kept]:
    """Let somebody measure, and see that all of the device's readings are sealed once."""
    await rig.measure(key, **(values or BP))
    return await rig.all_sealed(key)


async def just_works(rig: Rig) -> None:
    """A cuff that was never bonded bonds without questions."""
    await measured(rig, "plain")
    expect(rig.happened("bonded", device="plain"), "the device bonded")


async def bonded_reconnect(rig: Rig) -> None:
    """The same cuff measures again: the bond there is serves, none is made."""
    bonds = len(rig.happened("bonded", device="plain"))
    expect(bonds, "it is bonded already")
    await measured(rig, "plain", **BP | {"systolic": 132})
    expect(len(rig.happened("bonded", device="plain")) == bonds, "no new bond was made")


async def passkey_shown(rig: Rig) -> None:
    """The device shows digits; `edge-agent pair` is given them, and our agent hands them to BlueZ."""
    await rig.measure("shows", **BP)
    device = rig.entry("shows")
    options = {"--config": f"{rig.folder}/agent.toml", "--address": device.address, "--since": rig.since}
    words = [word for option in options.items() for word in option]
    words += ["--person", device.person, "--passkey", str(device.passkey), "--seconds", "60", "--yes"]
    done = await rig.guest.ask("run", "edge_agent.cli", "pair", *words)
    expect(done["status"] == 0, f"edge-agent pair succeeded: {done['printed']}")
    await rig.all_sealed("shows")


async def passkey_typed(rig: Rig) -> None:
    """The gateway shows digits; somebody types them on the device."""
    await rig.measure("asks", **BP)
    pairing = asyncio.create_task(pair(rig, "asks"))
    address = rig.entry("asks").address
    await rig.until(lambda: rig.happened("asked", what="show", address=address), "a passkey was shown")
    shown = int(rig.happened("asked", what="show", address=address)[0]["digits"])
    await rig.home.ask("type_passkey", device="asks", passkey=shown)
    paired(await pairing)
    await rig.all_sealed("asks")


async def wrong_passkey(rig: Rig) -> None:
    """Wrong digits bond nothing and bring nothing; the right ones, later, bring all of it."""
    right = rig.entry("mistyped").passkey
    await rig.measure("mistyped", **BP)
    answer = await pair(rig, "mistyped", passkey=right + 1)
    expect("error" in answer, "pairing failed")
    expect(rig.happened("asked", what="passkey", address=rig.entry("mistyped").address), "digits were asked")
    expect(not rig.happened("bonded", device="mistyped"), "no bond was made")
    await rig.home.ask("advertise", device="mistyped")
    expect(not rig.readings("mistyped"), "nothing is sealed yet")
    paired(await pair(rig, "mistyped", passkey=right))
    await rig.all_sealed("mistyped")


async def no_pairing_agent(rig: Rig) -> None:
    """Without an agent BlueZ refuses even Just Works to stock bleak; the gateway brings its own."""
    await rig.measure("unasked", **BP)
    done = await rig.guest.ask("run", "tests.vm.stock_client", rig.entry("unasked").name)
    expect("Authentication" in done["printed"], f"BlueZ refused to pair: {done['printed']}")
    expect(not rig.happened("bonded", device="unasked"), "no bond was made")
    await rig.start_gateway()
    await rig.home.ask("advertise", device="unasked")
    await rig.all_sealed("unasked")


async def bond_lost_on_device(rig: Rig) -> None:
    """The device forgot its keys: it is refused, that is told, and consent bonds it anew."""
    await measured(rig, "forgetful")
    await rig.home.ask("forget_bonds", device="forgetful")
    await refused_until_consent(rig, "forgetful")


async def bond_lost_on_host(rig: Rig) -> None:
    """BlueZ forgot the device (`bluetoothctl remove`): likewise, and the device keeps its identity."""
    await measured(rig, "forgotten")
    await rig.guest.ask("remove", address=rig.entry("forgotten").address)
    await refused_until_consent(rig, "forgotten")
    found = [kept.item.device.device_id for kept in rig.readings("forgotten")]
    expect(len(set(found)) == 1, "it is the same device as before")


async def refused_until_consent(rig: Rig, key: str) -> None:
    """See that a device whose bond is gone is not bonded in silence, but when an installer consents."""
    bonds = len(rig.happened("bonded", device=key))
    await rig.measure(key, **BP | {"systolic": 141})
    lost = DeviceEventKind.BOND_LOST
    await rig.until(
        lambda: any(event.kind is lost for event in rig.device_events(key)),
        "the hospital is told of the bond",
    )
    expect(len(rig.readings(key)) == 1, "nothing was taken without the bond")
    expect(len(rig.happened("bonded", device=key)) == bonds, "no bond was made in silence")
    await rig.home.ask("advertise", device=key)
    paired(await pair(rig, key, replace_bond=True))
    await rig.all_sealed(key)
    expect(len(rig.happened("bonded", device=key)) == bonds + 1, "it was bonded anew")


async def pair(rig: Rig, key: str, **how: object) -> dict[str, object]:
    """Pair a device over the agent's control socket; return the agent's last word."""
    device = rig.entry(key)
    answer: dict[str, object] = await rig.guest.ask(
        "pair", address=device.address, person=device.person, since=rig.since, **how
    )
    return answer


def paired(answer: dict[str, object]) -> None:
    """Raise `Failed` if a pairing failed."""
    expect("paired" in answer, f"it was paired: {answer}")


async def hundred_records(rig: Rig) -> None:
    """A meter gives a hundred records through its Record Access Control Point."""
    for number in range(RECORDS):
        await rig.measure("records", mg_dl=70 + number)
    found = await rig.all_sealed("records")
    expect(len(found) == RECORDS, f"{len(found)} of {RECORDS} records are sealed")
    asked = await rig.home.ask("deletions_asked", device="records")
    expect(asked == 0, "nothing was deleted on the meter")


async def cut_in_mid_indication(rig: Rig) -> None:
    """The connection ends before the indication is confirmed: it is sent again, and sealed once."""
    await rig.home.ask("disturb", device="cut", how="cut")
    await measured(rig, "cut")
    await rig.until(lambda: rig.happened("confirmed", device="cut"), "it was confirmed in the end")
    (line,) = await rig.ledger("cut")
    expect(line["sent_times"] > 1, "it was sent again")
    await rig.nothing_else("cut")


async def equal_cuffs(rig: Rig) -> None:
    """Two cuffs of one name and model advertise at once; the neighbour's is not touched."""
    await rig.measure(NEIGHBOUR, **BP | {"systolic": 177})
    await measured(rig, "ours")
    await asyncio.sleep(QUIET_S)
    expect(not rig.happened("connected", device=NEIGHBOUR), "the neighbour's was not connected to")
    expect(not rig.readings(NEIGHBOUR), "nothing of the neighbour's was sealed")


async def bluetoothd_restarted(rig: Rig) -> None:
    """bluetoothd ends and comes back; the gateway is not started again, listens and pairs again by itself."""
    await measured(rig, "restarted")
    registered = len(rig.logged("pairing_agent_registered"))
    await rig.guest.ask("bluetoothd", what="restart")
    await measured(rig, "restarted", **BP | {"systolic": 143})
    expect(len(rig.happened("bonded", device="restarted")) == 1, "the bond outlived bluetoothd")
    expect(len(rig.logged("pairing_agent_registered")) > registered, "the pairing agent was registered anew")
    await measured(rig, "newcomer")


async def twenty_devices(rig: Rig) -> None:
    """Twenty devices measure at the same moment."""
    for number, key in enumerate(MANY):
        await rig.measure(key, **BP | {"systolic": 120 + number})
    for key in MANY:
        await rig.all_sealed(key, timeout_s=180)


async def clock_written(rig: Rig) -> None:
    """A clock that is two hours behind is compared, and set."""
    found = await measured(rig, "late-clock")
    expect(rig.happened("clock_set", device="late-clock"), "the device's clock was set")
    kinds = [event.kind for event in rig.device_events("late-clock")]
    expect(DeviceEventKind.CLOCK_SET in kinds, "the hospital is told that the clock was set")
    expect(
        [kept.item.time.trust for kept in found] == [ClockTrust.COMPARED], "the reading's time was compared"
    )


async def stored_burst(rig: Rig) -> None:
    """A device has stored readings while nobody listened, and sends all of them in one connection."""
    for number in range(BURST):
        await rig.measure("burst", **BP | {"systolic": 150 + number})
    await rig.all_sealed("burst")
    expect(len(rig.happened("connected", device="burst")) == 1, "one connection was enough")


async def mixed_kinds(rig: Rig) -> None:
    """Notifications of two characteristics and indications of a third, on one connection."""
    for meal in (1, 2, 3):
        await rig.measure("meals", mg_dl=100 + meal, meal=meal)
    found = await rig.all_sealed("meals")
    packets = [len(kept.item.provenance.raw) for kept in found]
    expect(packets == [2, 2, 2], f"each reading is joined with its meal: {packets}")


async def adapter_power(rig: Rig) -> None:
    """The adapter is switched off and on; the gateway listens again by itself."""
    await measured(rig, "powerless")
    await rig.guest.ask("power", on=False)
    await asyncio.sleep(1)
    await rig.guest.ask("power", on=True)
    await rig.guest.ask("until_powered")
    await measured(rig, "powerless", **BP | {"systolic": 144})


async def gone_while_connecting(rig: Rig) -> None:
    """The device is gone when it is connected to; it comes back, and gives what it has."""
    await rig.home.ask("disturb", device="deaf", how="deaf")
    await fails_first(rig, "deaf")
    expect(not rig.happened("connected", device="deaf"), "the device heard no connection")
    await rig.home.ask("advertise", device="deaf")
    await rig.all_sealed("deaf")


async def gone_after_connecting(rig: Rig) -> None:
    """The device ends the connection as soon as it stands; it comes back, and gives what it has."""
    await rig.home.ask("disturb", device="drops", how="drop")
    await measured(rig, "drops")
    expect(len(rig.happened("connected", device="drops")) > 1, "it took more than one connection")


async def scale(rig: Rig) -> None:
    """A weight scale."""
    await measured(rig, "scale", weight="71.350")


async def thermometer(rig: Rig) -> None:
    """A thermometer."""
    await measured(rig, "thermometer", temperature="36.8")


async def oximeter(rig: Rig) -> None:
    """An oximeter, spot check."""
    await measured(rig, "oximeter", saturation=97, pulse=64)


async def visited_twice(rig: Rig) -> None:
    """A device sends what it keeps at each visit: it is sealed once."""
    await measured(rig, "twice")
    await rig.visit_ended("twice", 0)
    since = rig.now
    await rig.home.ask("advertise", device="twice")
    await rig.visit_ended("twice", since)
    (line,) = await rig.ledger("twice")
    expect(line["sent_times"] == 2, f"it was sent twice, not {line['sent_times']} times")
    await rig.nothing_else("twice")


async def fails_first(rig: Rig, key: str) -> None:
    """Let a device measure and its visit fail; nothing of it may be sealed."""
    before = len(rig.logged("visit_failed"))
    await rig.measure(key, **BP)
    await rig.until(lambda: len(rig.logged("visit_failed")) > before, f"the visit to {key} failed")
    expect(not rig.readings(key), f"nothing of {key} is sealed yet")


def expect(true: object, what: str) -> None:
    """Raise `Failed` naming what does not hold."""
    if not true:
        raise Failed(f"Not so: {what}")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One row. `device` is the one whose reading is timed on its way; `gateway` says that it runs already."""

    run: Callable[[Rig], Awaitable[None]]
    device: str
    in_slice: bool = False
    gateway: bool = True

    @property
    def name(self) -> str:
        """What it is called in reports."""
        return self.run.__name__

    @property
    def says(self) -> str:
        """What it shows, in a sentence."""
        return (self.run.__doc__ or "").split("\n")[0]


SCENARIOS = (
    Scenario(no_pairing_agent, "unasked", gateway=False),
    Scenario(just_works, "plain", in_slice=True),
    Scenario(bonded_reconnect, "plain", in_slice=True),
    Scenario(passkey_shown, "shows"),
    Scenario(passkey_typed, "asks", in_slice=True),
    Scenario(wrong_passkey, "mistyped"),
    Scenario(bond_lost_on_device, "forgetful"),
    Scenario(bond_lost_on_host, "forgotten"),
    Scenario(hundred_records, "records"),
    Scenario(cut_in_mid_indication, "cut"),
    Scenario(equal_cuffs, "ours"),
    Scenario(clock_written, "late-clock"),
    Scenario(stored_burst, "burst"),
    Scenario(mixed_kinds, "meals"),
    Scenario(gone_while_connecting, "deaf"),
    Scenario(gone_after_connecting, "drops"),
    Scenario(scale, "scale"),
    Scenario(thermometer, "thermometer"),
    Scenario(oximeter, "oximeter"),
    Scenario(visited_twice, "twice"),
    Scenario(confirmed_before_the_handler, "confirmed", in_slice=True),
    Scenario(killed_before_the_handler, "killed"),
    Scenario(twenty_devices, MANY[0]),
    Scenario(adapter_power, "powerless"),
    Scenario(bluetoothd_restarted, "restarted"),
)
