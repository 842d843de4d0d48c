"""Asking: when what is found now makes somebody look at an item anew, and until when. Pure."""

import datetime as dt
from dataclasses import replace

from cloud_bridge.alerts import (
    LIVE,
    RANK,
    Actor,
    Alert,
    AlertState,
    Move,
    Terms,
    Timeliness,
    after,
    timeliness,
)
from cloud_bridge.rules.base import Finding, Severity


def revised(known: Alert, finding: Finding, now: dt.datetime, terms: Terms) -> Alert:
    """Return an item about what is found now. What came late and goes on today is no longer late.

    If that made it severe, or graver than what was told, somebody is asked anew.
    """
    changed = replace(known, finding=finding, revision=known.revision + 1)
    if timeliness(finding, now) is not Timeliness.IN_TIME:
        return changed
    changed = replace(changed, late=False)
    grave = changed.own.urgency is Severity.SEVERE or RANK[changed.own.urgency] > RANK[known.urgency]
    asks = known.state in LIVE and rose(known, changed) and grave
    return asked_anew(changed, now, terms) if asks else changed


def rose(before: Alert, now: Alert) -> bool:
    """Tell whether the episode of a row became more urgent."""
    return RANK[now.own.urgency] > RANK[before.own.urgency]


def left_alone(item: Alert, now: dt.datetime, terms: Terms) -> bool:
    """Tell whether an item waits, and nobody is asked any more: the last role did not come in time either."""
    ran_out = item.due_at <= now and terms.care.next_role(item.escalation) is None
    return item.state is AlertState.OPEN and ran_out


def asked_anew(item: Alert, now: dt.datetime, terms: Terms, urgency: Severity | None = None) -> Alert:
    """Return an item that somebody must look at; due no later than it was, unless nobody at all came.

    It is due as its own urgency demands, or as the `urgency` of what asks.
    """
    due, again = terms.due(urgency or item.urgency, now), item.reopened + 1
    if left_alone(item, now, terms):
        return replace(item, due_at=due, reopened=again, escalation=0)
    if item.state is AlertState.OPEN:
        return replace(item, due_at=min(due, item.due_at))
    state = after(item.state, Move.REOPEN, Actor.RULES)
    asked = replace(item, state=state, due_at=due, reopened=again, outcome=None)
    return replace(asked, acknowledged_at=None, acknowledged_by=None)
