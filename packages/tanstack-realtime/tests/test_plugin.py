"""The pytest plugin, in projects of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

SEEDED = """
def test_draws(realtime_seed):
    assert realtime_seed == -1

def test_builds(realtime_sandbox):
    assert realtime_sandbox().network.seed == realtime_sandbox(seed=3).network.seed
"""


def test_a_failure_prints_the_seed_and_the_option_replays_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other packages' plugins take seconds to load; the next test shows that this one is found by itself.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "tanstack_realtime_pytest")
    pytester.makepyfile(SEEDED)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2)
    result.stdout.re_match_lines([r".*--realtime-seed=\d+ replays this test"])
    again = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--realtime-seed=42")
    again.stdout.fnmatch_lines(["*assert 42 == -1*", "*--realtime-seed=42 replays this test*", "*assert 42 == 3*"])


def test_the_kit_becomes_tests_in_a_few_lines(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from tanstack_realtime.testing import VirtualClockLoop

        def pytest_asyncio_loop_factories(config, item):
            return {"virtual": VirtualClockLoop}
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from tanstack_realtime.testing import MemoryPreset, SimulatedProvider

        @pytest.fixture
        async def provider(realtime_seed):
            async with SimulatedProvider(MemoryPreset(), seed=realtime_seed) as provider:
                yield provider

        @pytest.mark.asyncio
        async def test_conformance(conformance_check, provider):
            await conformance_check(provider)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "-k", "echo")
    result.assert_outcomes(passed=2, deselected=len(_checks()) - 2)


def _checks() -> list[object]:
    from tanstack_realtime.testing import CHECKS

    return [*CHECKS]


def test_a_project_that_does_not_use_it_pays_nothing() -> None:
    script = """
import json, sys
import pytest
import tanstack_realtime_pytest
print(json.dumps(sorted(name for name in sys.modules if name.partition(".")[0] in {"tanstack_realtime", "starlette"})))
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert json.loads(printed) == []
