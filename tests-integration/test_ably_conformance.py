"""The ably preset passes the conformance kit against the emulator, behind a proxy per user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from ably_app import AblyApp

from tanstack_realtime.testing import ConformanceProvider


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AblyApp]:
    async with AblyApp(monkeypatch) as provider:
        yield provider


async def test_against_the_emulator(
    conformance_check: Callable[[ConformanceProvider], Awaitable[None]], provider: AblyApp
) -> None:
    await conformance_check(provider)
