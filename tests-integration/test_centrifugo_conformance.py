"""The centrifugo preset passes the conformance kit against a server that is really there, behind a proxy per user."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from centrifugo_app import RealCentrifugo

from tanstack_realtime.testing import ConformanceProvider


@pytest.fixture
async def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RealCentrifugo]:
    async with RealCentrifugo(tmp_path, monkeypatch) as provider:
        yield provider


async def test_against_a_real_server(
    conformance_check: Callable[[ConformanceProvider], Awaitable[None]], provider: RealCentrifugo
) -> None:
    await conformance_check(provider)
