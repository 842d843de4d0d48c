"""A receiver that is spoken to over HTTP: the base owns the connection, and says what each failure means."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

import httpx

from cloud_bridge.connectors.base import Connector
from wire_format.errors import Misconfigured, Rejected, Unreachable

_NOT_ALLOWED: Final = frozenset({401, 403, 404})
_AGAIN: Final = frozenset({408, 409, 425, 429})
WHOLE: Final = 3
"""A receiver that says a byte now and then is given this many times its time, and no more."""


class HttpConnector(Connector):
    """See `Connector`. Use as `async with`. Redirections are not followed: orders go where was configured."""

    def __init__(self, *, name: str, timeout_s: float = 10, tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self._whole_s = WHOLE * timeout_s
        self._client = httpx.AsyncClient(timeout=timeout_s, verify=tls or True, follow_redirects=False)

    async def close(self) -> None:
        """See `Connector`."""
        await self._client.aclose()

    async def send(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Return the answer, which is 2xx; raise what `Connector` says of everything else."""
        try:
            async with asyncio.timeout(self._whole_s):
                answer = await self._client.request(method, url, content=body, headers=headers)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unreachable(
                f"The receiver {self.name!r} does not answer ({type(error).__name__}): it is tried again."
            ) from error
        _judge(self.name, answer)
        return answer


def _judge(name: str, answer: httpx.Response) -> None:
    code = answer.status_code
    if answer.is_success:
        return
    if code in _NOT_ALLOWED or answer.is_redirect:
        raise Misconfigured(
            f"The receiver {name!r} refuses us ({code}): check its url, and the secret that proves who asks."
        )
    if code in _AGAIN or answer.is_server_error:
        raise Unreachable(f"The receiver {name!r} cannot take it now ({code}): it is tried again.")
    raise Rejected(f"The receiver {name!r} refused an order ({code}): see its log, then retry.")
