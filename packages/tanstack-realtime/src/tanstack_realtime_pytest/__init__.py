"""The pytest plugin of tanstack-realtime: seeds that a failure prints, sandboxes, and the conformance kit as tests.

pytest loads it in every project where tanstack-realtime is installed, so it is a package of its own that imports
nothing else until one of its fixtures is used. It works with any plugin that runs asynchronous tests.

====================== ===============================================================================================
``realtime_seed``      a number, new in every run; a failure prints it, ``--realtime-seed=N`` brings it back
``realtime_sandbox``   `tanstack_realtime.testing.RealtimeSandbox` with that seed
``conformance_check``  each check of the kit in turn: ``await conformance_check(provider)``
====================== ===============================================================================================
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from tanstack_realtime.testing import Check, ConformanceProvider, RealtimeSandbox

__all__ = [
    "conformance_check",
    "pytest_addoption",
    "pytest_generate_tests",
    "realtime_sandbox",
    "realtime_seed",
]

_SEEDS: Final = 1_000_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that replays a run."""
    group = parser.getgroup("tanstack-realtime")
    group.addoption("--realtime-seed", type=int, metavar="N", help="replay the run of the realtime_seed fixture")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each check."""
    if "conformance_check" in metafunc.fixturenames:
        from tanstack_realtime.testing import CHECKS

        metafunc.parametrize("conformance_check", CHECKS, indirect=True, ids=[check.name for check in CHECKS])


@pytest.fixture
def realtime_seed(request: pytest.FixtureRequest) -> int:
    """A seed for everything random in a test. A failing test prints it."""
    given: int | None = request.config.getoption("--realtime-seed")
    seed = given if given is not None else random.SystemRandom().randrange(_SEEDS)
    request.node.add_report_section("setup", "realtime", f"--realtime-seed={seed} replays this test")
    return seed


@pytest.fixture
def realtime_sandbox(realtime_seed: int) -> Callable[..., RealtimeSandbox]:
    """`RealtimeSandbox` with the test's seed: ``async with realtime_sandbox() as sandbox``."""
    from tanstack_realtime.testing import RealtimeSandbox

    def build(**options: Any) -> RealtimeSandbox:
        options.setdefault("seed", realtime_seed)
        return RealtimeSandbox(**options)

    return build


@pytest.fixture
def conformance_check(request: pytest.FixtureRequest) -> Callable[[ConformanceProvider], Awaitable[None]]:
    """One check of the conformance kit; a test that asks for it runs once for each."""
    check: Check = request.param

    async def run(provider: ConformanceProvider) -> None:
        from tanstack_realtime.testing import CheckSkipped, run_check

        try:
            await run_check(check, provider)
        except CheckSkipped as skipped:
            pytest.skip(str(skipped))

    return run
