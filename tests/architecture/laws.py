"""The laws of the house as functions over parsed files, so that each can be shown a file that breaks it."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = (
    "wire_format",
    "device_drivers",
    "service_kit",
    "edge_agent",
    "cloud_bridge",
    "virtual_home",
)
MAX_LINES: Final = 400

MAY_IMPORT: Final[dict[str, frozenset[str]]] = {
    "wire_format": frozenset(),
    "device_drivers": frozenset({"wire_format"}),
    "service_kit": frozenset({"wire_format"}),
    "edge_agent": frozenset({"device_drivers", "service_kit", "wire_format"}),
    "cloud_bridge": frozenset({"service_kit", "wire_format"}),
    "virtual_home": frozenset(PACKAGES),
}

# Inside the bridge: pure parts, and the parts of the bridge that they may know.
PURE: Final[dict[str, tuple[str, ...]]] = {
    "cloud_bridge.rules": ("cloud_bridge.rules",),
    "cloud_bridge.alerts": ("cloud_bridge.rules.base", "cloud_bridge.rules.care", "cloud_bridge.duty"),
    "cloud_bridge.duty": ("cloud_bridge.rules.base", "cloud_bridge.rules.care"),
    "cloud_bridge.discharge": (
        "cloud_bridge.rules",
        "cloud_bridge.duty",
        "cloud_bridge.connectors.base",
        "cloud_bridge.connectors.fhir_codes",
        "cloud_bridge.connectors.hl7_segments",
    ),
    **{
        f"cloud_bridge.connectors.{pure}": (
            "cloud_bridge.rules.base",
            "cloud_bridge.rules.care",
            "cloud_bridge.alerts",
            "cloud_bridge.connectors.base",
            "cloud_bridge.connectors.fhir_",
            "cloud_bridge.connectors.hl7_",
        )
        for pure in ("fhir_map", "fhir_visit", "hl7_map", "hl7_segments", "webhook_map", "webhook_signature")
    },
}

# A library of I/O appears only in its adapters.
ADAPTERS: Final[dict[str, tuple[str, ...]]] = {
    "bleak": ("edge_agent.scanner", "edge_agent.ble_link", "edge_agent.pairing", "virtual_home."),
    "bumble": ("virtual_home.",),
    "dbus_fast": ("edge_agent.bluez_bus", "edge_agent.bluez_agent"),
    "serial": ("edge_agent.serial_link", "virtual_home."),
    "paho": ("service_kit.mqtt_line", "cloud_bridge.subscriber", "virtual_home."),
    "cedarpy": ("cloud_bridge.access.engine",),
    "argon2": ("cloud_bridge.access.",),
    "pyotp": ("cloud_bridge.access.",),
    "jwt": ("cloud_bridge.connectors.",),
    "hl7": (
        "cloud_bridge.connectors.hl7v2",
        "cloud_bridge.discharge.hl7_fields",
        "cloud_bridge.mllp_listener",
        "virtual_home.",
    ),
    "authlib": ("cloud_bridge.access.oidc",),
    "joserfc": (
        "cloud_bridge.access.oidc",
        "cloud_bridge.access.oidc_logout",
        "cloud_bridge.access.provider",
    ),
    "httpx": ("cloud_bridge.connectors.", "cloud_bridge.access.provider", "virtual_home."),
    "sqlalchemy": ("cloud_bridge.store.",),
    "alembic": ("cloud_bridge.store.",),
    "psycopg": (),  # SQLAlchemy's business alone
    "influxdb_client": ("cloud_bridge.store.",),
    "fastapi": ("cloud_bridge.api.", "cloud_bridge.console."),
    "uvicorn": ("cloud_bridge.app", "cloud_bridge.api."),
    "sqlite3": ("edge_agent.outbox", "edge_agent.outbox_", "virtual_home."),
}


@dataclass(frozen=True)
class Module:
    """One file of ours, parsed."""

    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


def modules() -> Iterator[Module]:
    """Every module of the product."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Module(name, path.read_text())


def imports(module: Module) -> set[str]:
    """Every module that is imported anywhere in `module`, in functions and type checking blocks too."""
    found: set[str] = set()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == p or name.startswith(p if p.endswith((".", "_")) else f"{p}.") for p in prefixes)


def wrong_direction(module: Module) -> list[str]:
    """Imports that the house does not allow."""
    own = module.name.split(".")[0]
    bad = []
    for target in imports(module):
        package = target.split(".")[0]
        if package in PACKAGES and package != own and package not in MAY_IMPORT[own]:
            bad.append(f"{module.name} imports {target}")
        for pure, allowed in PURE.items():
            inside = package == own and target.count(".") > 0
            if _within(module.name, (pure,)) and inside and not _within(target, (*allowed, pure)):
                bad.append(f"{module.name} is pure, and imports {target}")
        if package in ADAPTERS and not _within(module.name, ADAPTERS[package]):
            bad.append(f"{module.name} imports {package}, which belongs to {ADAPTERS[package]}")
    return bad


def cycles(all_modules: list[Module]) -> list[list[str]]:
    """Import cycles between our modules; importing a package means its __init__."""
    names = {m.name for m in all_modules}
    graph = {m.name: {t for t in imports(m) if t in names and t != m.name} for m in all_modules}
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
            return
        if name in done:
            return
        for target in sorted(graph[name]):
            walk(target, [*path, name])
        done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return found


def function_lengths(module: Module) -> list[int]:
    """Lines of each function, its docstring not counted."""
    lengths = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            is_doc = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            doc = (first.end_lineno or 0) - first.lineno + 1 if is_doc else 0
            lengths.append((node.end_lineno or 0) - node.lineno + 1 - doc)
    return lengths


def broad_excepts(module: Module) -> list[str]:
    """Handlers that catch everything without saying why on their line."""
    lines = module.source.splitlines()
    bad = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        names = {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {"bare"}
        if names & {"Exception", "BaseException", "bare"} and " - " not in lines[node.lineno - 1]:
            bad.append(f"{module.name}:{node.lineno}")
    return bad


_ADDRESS: Final = re.compile(
    r"--(extra-)?index-url|--find-links|\bpypi\.org|files\.pythonhosted|\bdeb\.debian\.org|registry\.npmjs"
)
_WORKPLACE: Final = re.compile(r"/work/(main|env|shared)|\.\./shared|/opt/pypi")


def addresses(text: str) -> bool:
    """Whether a tracked file names a registry or a path of the machine it was written on."""
    return bool(_ADDRESS.search(text) or _WORKPLACE.search(text))


def unexplained_ignores(pyproject: str) -> list[str]:
    """Lint ignores without their reason beside them."""
    inside = re.findall(r'^\s+"[A-Z]+[0-9]*",.*$', pyproject, re.MULTILINE)
    return [line.strip() for line in inside if "#" not in line]
