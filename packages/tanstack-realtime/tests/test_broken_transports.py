"""The conformance kit catches every broken transport that ships with it."""

from __future__ import annotations

import pytest

from tanstack_realtime.testing import BROKEN_TRANSPORTS, CHECKS, BrokenTransport, SimulatedProvider, run_conformance


def test_there_are_enough_of_them() -> None:
    assert len(BROKEN_TRANSPORTS) >= 12
    assert {broken.caught_by for broken in BROKEN_TRANSPORTS} <= {check.name for check in CHECKS}


@pytest.mark.parametrize("broken", BROKEN_TRANSPORTS, ids=lambda broken: broken.__name__)
async def test_it_is_caught_by_the_check_that_it_names(broken: type[BrokenTransport]) -> None:  # X10
    (check,) = [check for check in CHECKS if check.name == broken.caught_by]
    (outcome,) = await run_conformance(lambda: SimulatedProvider(wrap=broken), [check])
    assert outcome.result == "failed", f"{broken.__doc__} {check} did not notice"
    assert outcome.detail.partition(":")[0] in {"AssertionError", "ChannelDeniedError"}, "it failed by accident"
    (spared,) = await run_conformance(lambda: SimulatedProvider(wrap=BrokenTransport), [check])
    assert spared.result == "passed", spared.detail
