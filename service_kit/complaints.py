"""How a command ends on what a human must correct: a line for each, and a status that says so."""

import sys
from collections.abc import Iterator

from wire_format.errors import KitelineError, Misconfigured


def complain(program: str, error: KitelineError | BaseExceptionGroup[BaseException]) -> int:
    """Say in one line each what went wrong, and return the exit status: 2 if a human must correct it, else 1.

    What runs side by side fails as a group; of one with anything else in it the whole is raised again.
    """
    found = list(_leaves(error))
    if not all(isinstance(one, KitelineError) for one in found):
        raise error
    for line in dict.fromkeys(map(str, found)):
        sys.stderr.write(f"{program}: {line}\n")
    return 2 if any(isinstance(one, Misconfigured) for one in found) else 1


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error
