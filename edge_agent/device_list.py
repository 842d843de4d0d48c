"""The list of this home's devices, as `edge-agent devices` shows it; the agent need not run for it."""

from typing import Any

from edge_agent.pairing import Devices


def list_devices(devices: Devices) -> list[dict[str, Any]]:
    """Return the facts of every device of ours: named, paired or adopted."""
    addresses = dict.fromkeys([d.address for d in devices.named] + list(devices.known))
    return [device_facts(devices, address) for address in addresses if devices.is_ours(address)]


def device_facts(devices: Devices, address: str) -> dict[str, Any]:
    """Return what is known of a device; None is what is not known. Times are UTC."""
    known = devices.known.get(address)
    identity = None if known is None else known.identity
    return {
        "address": address,
        "maker": identity and identity.maker,
        "model": identity and identity.model,
        "serial": identity and identity.serial,
        "profile": known and known.profile,
        "users": [
            {"person": u.person, "slot": u.slot, "since": u.since, "until": u.until}
            for u in devices.users(address)
        ],
        "bonded": known is not None and known.bonded_at is not None,
        "bond_lost": known and known.bond_lost_at,
        "last_visit": known and known.last_visit,
        "last_heard_s_ago": None,
        "unread": None,
    }
