"""A program in front of the interface: it has a token, and remembers nothing else."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cloud_bridge.access.model import DataType, Role
from tests.doubles.page_visitor import PER_MINUTE, Visitor, fill_a_day, token, visitor

API = "/api/v1"
NURSE = "n1"


@dataclass
class Caller:
    """Asks with a token, in English if not told otherwise."""

    one: Visitor
    token: str

    async def get(self, path: str, headers: Mapping[str, str] | None = None, **query: Any) -> httpx.Response:
        return await self.one.http.get(API + path, params=query, headers=self.headers(headers))

    async def post(
        self, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self.one.http.post(API + path, json=body, headers=self.headers(headers))

    async def items(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every item of a list, page after page, as the `Link` headers lead."""
        answer = await self.get(path, **query)
        found = list(answer.json()["items"])
        while (more := answer.links.get("next")) is not None:
            answer = await self.one.http.get(more["url"], headers=self.headers(None))
            found += answer.json()["items"]
        return found

    async def alert(self, patient: str | None) -> dict[str, Any]:
        """One alert of somebody that is in the queue, whole."""
        found = next(a for a in await self.items("/alerts") if a["patient"] == patient)
        whole: dict[str, Any] = (await self.get(f"/alerts/{found['alert_id']}")).json()
        return whole

    def headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}", "accept-language": "en", **(more or {})}


def calling(one: Visitor, name: str, role: Role, organization: str = "1", *patients: str) -> Caller:
    """A program with an account of its own."""
    one.hire(name, role, organization, *patients)
    return Caller(one, token(one.desk, name))


@asynccontextmanager
async def caller(folder: Path, *consented: DataType, per_minute: int = PER_MINUTE) -> AsyncIterator[Caller]:
    """A nurse's program before a filled inbox; both patients agreed to some kinds of data (none: to all)."""
    async with visitor(folder, filled=fill_a_day, accounts=True, per_minute=per_minute) as one:
        for patient in ("patient-1", "patient-2"):
            one.consent("nurse", *(consented or tuple(DataType)), patient=patient)
        yield calling(one, NURSE, Role.NURSE)
