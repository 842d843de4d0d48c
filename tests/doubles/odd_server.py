"""An HTTP server that answers as it is told, word by word: what no good server can be made to do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def odd_server(*answers: bytes | None, heard: list[bytes] | None = None) -> AsyncIterator[str]:
    """Serve `answers` one after the other, the last one for ever; None never answers. Yield the base URL.

    `heard` is given every request as it came.
    """
    left = list(answers)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            serving.add(task)
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                head += await reader.readexactly(int(line.split(b":")[1]))
        if heard is not None:
            heard.append(head)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is None:
            await reader.read()  # until the other side gives up
        else:
            writer.write(answer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/fhir"
    finally:
        await asyncio.gather(*serving)
        server.close()
        await server.wait_closed()


def http(status: str, body: bytes = b"", kind: str = "application/fhir+json") -> bytes:
    """Return one whole HTTP answer."""
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
