"""`python -m cloud_bridge.api.v1.document` prints docs/openapi.json; a test compares."""

import json

from cloud_bridge.api.v1.app import routes


def document() -> str:
    """Return the description of the interface, as a file."""
    return json.dumps(routes().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - a program's output
