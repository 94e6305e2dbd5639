"""The conformance kit on the reference preset, in each of the shapes that it can take."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from tanstack_realtime import Capabilities
from tanstack_realtime.server import ServerContext
from tanstack_realtime.testing import (
    CHECKS,
    MEMORY_CAPABILITIES,
    NOT_OF_A_TRANSPORT,
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


def test_every_capability_is_proved_by_a_check() -> None:
    fields = {field.name for field in dataclasses.fields(Capabilities)}
    proved = {claim for check in CHECKS for claim in check.proves}

    assert fields - proved == {"native_presence", "retry_schedule"}


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_a_check_proves_what_it_looks_at(check: Check) -> None:
    fields = {"recovery", "history", "ordering", "echo", "max_message_bytes", "revocation_delay"}

    assert fields & set(check.body.__code__.co_names) <= set(check.proves)


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


REGISTER = {
    *(f"C{n}" for n in (*range(1, 9), 10, *range(12, 19))),
    *(f"S{n}" for n in (*range(1, 8), 9, *range(12, 16), *range(17, 24))),
    *(f"P{n}" for n in (*range(1, 7), 8)),
    *(f"A{n}" for n in (*range(1, 6), 9, 11, 12, *range(14, 18))),
    *(f"V{n}" for n in (1, *range(4, 9))),
    *(f"R{n}" for n in (*range(1, 8), *range(9, 13), 14, 15)),
    *(f"Q{n}" for n in (*range(1, 8), *range(9, 16), *range(18, 23))),
    *(f"G{n}" for n in (*range(1, 5), *range(6, 13))),
    *(f"L{n}" for n in (1, 2, *range(4, 7))),
    *(f"X{n}" for n in range(1, 11)),
    *("O7", "K1", "K2", "K3", "K4", "K5", "T1"),
}


def test_every_case_of_the_register_is_checked_or_says_why_not() -> None:
    held = {case for check in CHECKS for case in check.holds}
    assert held | NOT_OF_A_TRANSPORT.keys() == REGISTER
