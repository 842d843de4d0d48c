"""The hospital's own desk: what staff see and do in the system that they already have, over FHIR R4."""

from typing import Any, Final, Self

import httpx

from wire_format.errors import Unreachable

PAGE: Final = 500
LOOKS: Final = 5


class Desk:
    """Somebody at the hospital, looking at its FHIR server. Use as `async with Desk(base) as desk`."""

    def __init__(self, base_url: str) -> None:
        self._client = httpx.AsyncClient(base_url=base_url, timeout=10)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def know(self, kind: str, system: str, value: str) -> None:
        """Enter somebody or something into the hospital's own books, by identifier alone."""
        resource = {"resourceType": kind, "identifier": [{"system": system, "value": value}]}
        condition = {"If-None-Exist": f"identifier={system}|{value}"}
        answer = await self._client.post(f"/{kind}", json=resource, headers=condition)
        if not answer.is_success:
            raise Unreachable(f"The hospital's server answered {answer.status_code} to a new {kind}.")

    async def find(self, kind: str, **parameters: str) -> list[dict[str, Any]]:
        """Return all resources of a kind, page after page."""
        address: str | None = f"/{kind}"
        query: dict[str, str] | None = {"_count": str(PAGE), **parameters}
        found: list[dict[str, Any]] = []
        while address is not None:
            bundle = await self._get(address, query)
            found += [entry["resource"] for entry in bundle.get("entry", [])]
            links = {link["relation"]: link["url"] for link in bundle.get("link", [])}
            address, query = links.get("next"), None
        return found

    async def count(self, kind: str) -> int:
        """Return how many resources of a kind there are."""
        bundle = await self._get(f"/{kind}", {"_count": "1", "_total": "accurate"})
        return int(bundle["total"])

    async def take_on(self, task: dict[str, Any], status: str = "accepted") -> None:
        """Move a work order on, as the nurse does; raises `Unreachable` if somebody was quicker.

        Where only its wording is new, as when a second reading confirms it, she looks and does it again.
        """
        seen = task["status"]
        for _ in range(LOOKS):
            version = task["meta"]["versionId"]
            answer = await self._client.put(
                f"/Task/{task['id']}",
                json=task | {"status": status},
                headers={"If-Match": f'W/"{version}"'},
            )
            if answer.status_code != httpx.codes.PRECONDITION_FAILED:
                break
            own = {part: task[part] for part in ("note", "output") if part in task}
            task = await self._get(f"/Task/{task['id']}", None) | own
            if task["status"] != seen:
                break
        if not answer.is_success:
            raise Unreachable(f"The hospital's server answered {answer.status_code} to a change of a Task.")

    async def _get(self, address: str, query: dict[str, str] | None) -> dict[str, Any]:
        answer = await self._client.get(address, params=query)
        if not answer.is_success:
            raise Unreachable(f"The hospital's server answered {answer.status_code} to a search.")
        bundle: dict[str, Any] = answer.json()
        return bundle
