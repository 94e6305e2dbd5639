"""Tests run in virtual time."""

from __future__ import annotations

from typing import Any

from tanstack_db.testing import VirtualClockLoop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, type[VirtualClockLoop]]:
    return {"virtual": VirtualClockLoop}
