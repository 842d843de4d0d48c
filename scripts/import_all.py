"""Import every module of a package, and fail if a library that has no business there can be imported."""

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path


def main(package: str, forbidden: list[str]) -> int:
    """Return 0 if all modules import and none of `forbidden` is installed."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    root = importlib.import_module(package)
    names = [
        m.name for m in pkgutil.walk_packages(root.__path__, f"{package}.") if "migrations" not in m.name
    ]
    for name in names:
        importlib.import_module(name)
    strangers = [name for name in forbidden if importlib.util.find_spec(name)]
    print(f"{package}: {len(names)} modules imported")  # noqa: T201 - a report
    if strangers:
        print(f"{package} alone brings in {', '.join(strangers)}: move it to another extra", file=sys.stderr)  # noqa: T201
    return len(strangers)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
