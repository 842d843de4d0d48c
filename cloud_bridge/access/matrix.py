"""The matrix of roles and actions, worked out by asking the policies, for documents and tests.

`python -m cloud_bridge.access.matrix` prints docs/access.md.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from cloud_bridge.access.endpoints import ENDPOINTS, No
from cloud_bridge.access.engine import Engine
from cloud_bridge.access.model import ON_PATIENTS, Account, Action, DataType, Question, Role, Subject

REASON: Final = "unconscious in the emergency room"

_INTRODUCTION: Final = """\
# Who may do what

Written by `python -m cloud_bridge.access.matrix` from `cloud_bridge/access/policies.cedar`; a test compares.
Nothing is allowed that no policy permits. Staff need an active account and a second factor for everything.

"team" means: of the patient's care team, or of an organization that looks after the patient. "consent" means:
the patient's consent for this role or organization and this kind of data holds at that moment. "own" means:
about themselves, or about somebody who chose them. Whoever broke the glass (with a reason, on record, to be
reviewed) reads that one patient for an hour; it lets them do nothing else.
"""

_PROGRAMS: Final = """
# What programs may ask

Below /api/v1 ([docs](api.md)), by a token; by a session it is the same. "no" is answered 403; where the
second column has a star, the answer is 200 and leaves out what is not allowed. A test sends the request of
each cell, with and without team, consent and own. A path that has no row here is not served. A token never
breaks the glass, gives or withdraws consent, reviews or manages accounts.
"""


def conditions() -> Iterator[tuple[str, bool, bool, bool]]:
    """Yield every combination of team, consent and own, the least that suffices first."""
    yield from (
        ("yes", False, False, False),
        ("own", False, False, True),
        ("consent", False, True, False),
        ("own, consent", False, True, True),
        ("team", True, False, False),
        ("team, consent", True, True, False),
    )


def needed(  # noqa: PLR0913 - all that a decision depends on
    engine: Engine,
    role: Role,
    action: Action,
    data: DataType | None,
    *,
    broken: bool = False,
    by_token: bool = False,
) -> str:
    """Return the least that suffices for a role to do something, "no" if nothing does."""
    for name, team, consent, own in conditions():
        asked = question(
            role,
            action,
            data,
            team=team,
            consent=consent,
            own=own,
            second_factor=not by_token,
            glass_broken=broken,
            by_token=by_token,
        )
        if engine.decide(asked).allowed:
            return name
    return "no"


def question(  # noqa: PLR0913 - all that a decision depends on
    role: Role,
    action: Action,
    data: DataType | None,
    *,
    team: bool,
    consent: bool,
    own: bool,
    second_factor: bool = True,
    active: bool = True,
    reason: str = REASON,
    glass_broken: bool = False,
    by_token: bool = False,
) -> Question:
    """Return an example question under such conditions."""
    account = Account("a", role, "o", active, frozenset({"p"}) if own else frozenset())
    if action not in ON_PATIENTS:
        return Question(account, action, None, None, reason, second_factor, by_token=by_token)
    consented = {f"{role.value}:{data.value if data else ''}"} if consent else set()
    subject = Subject("p", frozenset({"a"}) if team else frozenset(), frozenset(), frozenset(consented))
    return Question(account, action, subject, data, reason, second_factor, glass_broken, by_token)


def document(engine: Engine) -> str:
    """Return the matrix as a page."""
    roles = list(Role)
    lines = [_INTRODUCTION, _row("", *(role.value.replace("_", " ") for role in roles))]
    lines.append(_row(*["---"] * (len(roles) + 1)))
    for action in Action:
        kinds = [*DataType] if action is Action.READ else [None]
        for kind in kinds:
            what = action.value.replace("_", " ") + (f" {kind.value.replace('_', ' ')}" if kind else "")
            lines.append(_row(what, *(needed(engine, role, action, kind) for role in roles)))
        if action is Action.READ:
            lines.append(_row("read, the glass broken", *(_once_broken(engine, role) for role in roles)))
    return "\n".join([*lines, _PROGRAMS, *_endpoints(engine, roles)]) + "\n"


def _endpoints(engine: Engine, roles: Sequence[Role]) -> Iterator[str]:
    """Yield the rows of the interface for programs; kinds of data that are answered alike share one."""
    yield _row("", "", *(role.value.replace("_", " ") for role in roles))
    yield _row(*["---"] * (len(roles) + 2))
    for (method, path), questions in ENDPOINTS.items():
        for asks in questions:
            cells: dict[tuple[str, ...], list[str]] = {}
            for kind in asks.kinds or (None,):
                key = tuple(needed(engine, role, asks.action, kind, by_token=True) for role in roles)
                cells.setdefault(key, []).append("" if kind is None else kind.value.replace("_", " "))
            for key, kinds in cells.items():
                of = ", ".join(part for part in (asks.part, *kinds) if part)
                mark = " *" if asks.no is No.LEAVES_OUT else ""
                yield _row(f"{method} {path}", of + mark, *key)


def _once_broken(engine: Engine, role: Role) -> str:
    """Return what suffices for a role once the glass is broken; "as above" where that changes nothing."""
    before = [needed(engine, role, Action.READ, kind) for kind in DataType]
    after = [needed(engine, role, Action.READ, kind, broken=True) for kind in DataType]
    return "as above" if after == before else ", ".join(sorted(set(after)))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(document(Engine()), end="")  # noqa: T201 - a program's output
