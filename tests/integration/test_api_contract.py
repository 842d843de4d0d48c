"""The served interface keeps to its description: requests that schemathesis makes up, and the file in docs.

`make api-check` lets it go on for longer (API_CHECK_S), with another seed each time.
"""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import httpx

from cloud_bridge.api.v1.document import document
from tests.doubles.bridge_desk import BridgeDesk
from tests.doubles.page_visitor import fill_a_day, fill_other_programmes, token
from tests.doubles.served_page import served, staff

SECONDS = os.environ.get("API_CHECK_S", "")
HOW_MUCH = (
    ("--max-time", SECONDS) if SECONDS else ("--phases", "examples,fuzzing,stateful", "--max-examples", "2")
)
SEED = str(random.SystemRandom().randrange(10**6)) if SECONDS else "1"

# A request may be right and yet too late: 409 and 412 are about the state, 428 asks which one was seen.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "428"]

[[operations]]
include-path = "/audit"
headers = {{ Authorization = "Bearer {auditor}" }}

[[operations]]
include-path-regex = "/(consents|readers)$"
headers = {{ Authorization = "Bearer {patient}" }}
"""


def test_made_up_requests_are_answered_as_described(tmp_path: Path) -> None:
    desk = BridgeDesk(tmp_path)
    fill_a_day(desk)
    fill_other_programmes(desk)
    staff(desk)
    for one in desk.store.deliveries.claim_deliveries(desk.now, 4):
        desk.store.deliveries.mark_failed(one, "422: no such patient", None)
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(auditor=token(desk, "a1"), patient=token(desk, "p1")))
    with served(desk) as address:
        run = subprocess.run(
            [
                Path(sys.executable).parent / "schemathesis",
                *("--config-file", config, "run", f"{address}/api/v1/openapi.json"),
                *("--checks", "all", "--seed", SEED, "--no-color", *HOW_MUCH),
                *("--header", f"Authorization: Bearer {token(desk, 'n1')}"),
                *(
                    "--exclude-path",
                    "/events",
                ),  # it does not end by itself: tests/integration/test_api_events.py
            ],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            text=True,
            timeout=int(SECONDS or 20) + 80,
        )
    assert run.returncode == 0, run.stdout + run.stderr
    selected, everything = map(int, re.findall(r"(\d+) selected / (\d+) total", run.stdout)[0])
    assert selected >= everything - 1 >= 15
    counted = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert counted is not None, run.stdout
    assert int(counted[1]) == int(counted[2]) > 50
    print(run.stdout)  # noqa: T201 - what `make api-check` shows
    assert desk.store.access.broken_at() is None
    desk.close()


def test_the_description_in_the_docs_is_the_served_one(tmp_path: Path) -> None:
    kept = (Path(__file__).parents[2] / "docs" / "openapi.json").read_text()
    assert kept == document(), "run: .venv/bin/python -m cloud_bridge.api.v1.document > docs/openapi.json"
    desk = BridgeDesk(tmp_path)
    with served(desk) as address:
        answer = httpx.get(f"{address}/api/v1/openapi.json")
    assert answer.json() == json.loads(kept)
    desk.close()


def test_the_description_is_complete() -> None:
    made = json.loads(document())
    assert made["openapi"].startswith("3.1.")
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert all(operation[part] for part in ("summary", "description", "operationId")), where
            good, bad = operation["responses"]["200"], set(operation["responses"]) - {"200", "304"}
            assert "ETag" in good.get("headers", {}) or path == "/events", where
            assert {"401", "403", "422", "429", "500", "503"} <= bad, where
            for status in bad:
                content = operation["responses"][status]["content"]["application/problem+json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
                assert content["example"]["status"] == int(status)
            assert ("304" in operation["responses"]) is (method == "get" and path != "/events"), where
            listed = any(one["name"] == "cursor" for one in operation.get("parameters", ()))
            assert ("Link" in good.get("headers", {})) is listed, where
