"""Simulated histories over the node preset's own hub and sessions. `make simulate N=…` runs more of them."""

from __future__ import annotations

import pytest

from realtime_preset_node.testing import SimulatedNode
from tanstack_realtime.testing import simulate

BATCH = 50


@pytest.mark.parametrize("first", range(0, 250, BATCH))
def test_every_view_agrees_with_the_database(first: int) -> None:  # P4, Q9, Q11, Q20, Q22, G1, X4
    """A failure names the seed: ``python scripts/simulate.py 1 --first SEED``."""
    summaries = [simulate(seed, preset=SimulatedNode) for seed in range(first, first + BATCH)]
    assert sum(summary.committed for summary in summaries) > 2 * BATCH
    assert sum(summary.faults for summary in summaries) > 2 * BATCH
    assert sum(summary.failed for summary in summaries) > 0
    assert 0 < sum(summary.focused for summary in summaries) < BATCH / 2
