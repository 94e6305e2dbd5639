"""Servers and clients in one process: requests go through ASGI, not through sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from tanstack_start import FunctionsClient, ServerFunctions

Connect = Callable[..., FunctionsClient]


@pytest.fixture
async def http() -> AsyncIterator[Callable[[ServerFunctions], httpx.AsyncClient]]:
    """Return a maker of HTTP clients that talk to an application in this process."""
    async with AsyncExitStack() as stack:

        def make(app: ServerFunctions) -> httpx.AsyncClient:
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def connect(http: Callable[[ServerFunctions], httpx.AsyncClient]) -> Connect:
    """Return a maker of function clients for an application in this process."""

    def make(app: ServerFunctions, *functions: Any, **options: Any) -> FunctionsClient:
        return FunctionsClient("http://server", *functions, http=http(app), **options)

    return make
