"""The conformance kit on the reference preset, in each of the shapes that it can take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tanstack_realtime import Capabilities
from tanstack_realtime.server import ServerContext
from tanstack_realtime.testing import (
    CHECKS,
    MEMORY_CAPABILITIES,
    Check,
    Conditions,
    MemoryPreset,
    SimulatedProvider,
    run_conformance,
)

SHAPES = {
    "everything": MEMORY_CAPABILITIES,
    "no recovery": replace(MEMORY_CAPABILITIES, recovery=False, history=0),
    "no presence": replace(MEMORY_CAPABILITIES, native_presence=False, presence=None),
    "no echo": replace(MEMORY_CAPABILITIES, echo=False),
    "over http": replace(MEMORY_CAPABILITIES, publish_over_link=False),
}


@pytest.fixture(params=SHAPES.values(), ids=list(SHAPES))
async def provider(request: pytest.FixtureRequest, realtime_seed: int) -> AsyncIterator[SimulatedProvider]:
    capabilities: Capabilities = request.param
    async with SimulatedProvider(MemoryPreset(capabilities), seed=realtime_seed) as provider:
        yield provider


async def test_the_reference_preset(  # X1, X2, X3, X4, X5, X6, X7, X8, X9
    conformance_check: Callable[[SimulatedProvider], Awaitable[None]], provider: SimulatedProvider
) -> None:
    await conformance_check(provider)


async def test_an_unclaimed_capability_is_reported() -> None:  # X5
    preset = MemoryPreset(replace(SHAPES["no recovery"], native_presence=False, presence=None))
    outcomes = await run_conformance(lambda: SimulatedProvider(preset))
    left_out = {outcome.check.name: outcome.detail for outcome in outcomes if outcome.result == "left out"}
    presence = {name for name, reason in left_out.items() if reason == "presence is not claimed"}
    assert "members_see_each_other" in presence
    assert {name: reason for name, reason in left_out.items() if name not in presence} == {
        "a_gap_beyond_the_history_is_reported": "recovery is not claimed",
        "the_position_is_honest": "recovery is not claimed",
    }
    assert {outcome.result for outcome in outcomes} == {"passed", "left out"}


async def test_a_claim_that_is_not_true_fails() -> None:  # X5
    class Braggart(MemoryPreset):
        """Claims to recover, and does not."""

        def create_server(self, context: ServerContext, /) -> Any:
            return MemoryPreset(SHAPES["no recovery"]).create_server(context)

    outcomes = await run_conformance(lambda: SimulatedProvider(Braggart()))
    failed = {outcome.check.name for outcome in outcomes if outcome.result == "failed"}
    assert failed >= {"a_gap_is_replayed_or_reported", "the_position_is_honest"}


async def test_messages_that_a_provider_loses_are_noticed() -> None:
    outcomes = await run_conformance(lambda: SimulatedProvider(conditions=Conditions(drop=0.3)))
    assert "a_burst_keeps_its_order" in {outcome.check.name for outcome in outcomes if outcome.result == "failed"}


def test_every_check_says_what_it_holds() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    bare: list[Check] = [check for check in CHECKS if not check.holds or not check.summary.endswith(".")]
    assert bare == []
