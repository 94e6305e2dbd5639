"""Keep docs/capabilities.md: what each preset declares, the checks that prove it, and what differs.

``python scripts/capabilities.py`` checks that the page fits the presets' declared capabilities and the conformance kit.
``--run FILE`` also compares it with how the checks ended in a run against real servers, as `make integration` does.
``--write`` makes the page anew from all that.

The page is where the results are kept: what a run did not cover stays as it was.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

from _workspace import ROOT, Failure, main

from tanstack_realtime import Capabilities, load_preset
from tanstack_realtime.testing import CHECKS, Claim

__all__ = ["PAGE", "problems", "stale"]

PAGE = ROOT / "docs" / "capabilities.md"

Results: TypeAlias = Mapping[str, Mapping[str, str]]
"""How a check ended, by preset and by its name: ``passed``, ``failed``, or ``left out: reason``."""

_PRESETS = ("node", "centrifugo", "ably")
_NOT_RUN = "not run"
_ROW = re.compile(r"^\| `(\w+)`[^|]*\|[^|]*\|(.*)\|$", re.MULTILINE)

_INTRODUCTION = """\
# What each preset declares, and what proves it

Application code is the same on every preset. What a preset cannot make the same it declares, and the client acts on it.
This page is made by `scripts/capabilities.py` from the presets and from a run of the
[conformance kit](presets.md#check-it) against real servers: the node preset over sockets, Centrifugo or the engine that
stands in for it, and Ably's [emulator](../packages/realtime-preset-ably/src/realtime_preset_ably/emulator/README.md).
`make integration` fails if it is not in step. It also runs every example on all three, with nothing changed but the one
line of configuration: `tests-integration/test_same_application.py`.
"""


def _seconds(value: float) -> str:
    return "not declared" if math.isinf(value) else "at once" if value == 0 else f"within {value:g} s"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _declared(capabilities: Capabilities) -> dict[str, tuple[str, Claim | None]]:
    """Return each property in words, with the claim that it is proved as."""
    presence = capabilities.presence
    return {
        "Proves after an interruption that nothing was missed": (_yes(capabilities.recovery), "recovery"),
        "Messages of a channel that can be replayed": (f"{capabilities.history}", "history"),
        "Messages of a channel arrive in order": (_yes(capabilities.ordering), "ordering"),
        "A publisher hears itself": (_yes(capabilities.echo), "echo"),
        "Collections publish": (
            "over the connection" if capabilities.publish_over_link else "through `/_realtime/publish`",
            "publish_over_link",
        ),
        "Largest payload": (f"{capabilities.max_message_bytes} bytes", "max_message_bytes"),
        "`revoke`, and the end of a grant, take effect": (_seconds(capabilities.revocation_delay), "revocation_delay"),
        "Presence": ("yes" if presence else "no", "presence"),
        "A member whose connection died is gone": (
            _seconds(presence.ghost_timeout) if presence else "–",
            "presence",
        ),
        "Largest state of a member": (f"{presence.max_state_bytes} bytes" if presence else "–", "presence"),
        "The provider keeps the members' states": (_yes(capabilities.native_presence), None),
        "Connects again": (f"the {capabilities.retry}", "retry"),
        "Schedule of that": (capabilities.retry_schedule, None),
    }


def render(results: Results) -> str:
    """Return the page."""
    declared = {preset: _declared(load_preset(preset).capabilities) for preset in _PRESETS}
    return "\n".join(
        [_INTRODUCTION, *_what_differs(declared), "", *_all_claims(declared), "", *_all_checks(results), ""]
    )


_Declared: TypeAlias = Mapping[str, Mapping[str, tuple[str, Claim | None]]]


def _what_differs(declared: _Declared) -> Iterator[str]:
    yield "## What differs"
    yield ""
    yield _line("", *_PRESETS)
    yield _line(*["---"] * (1 + len(_PRESETS)))
    for name in declared[_PRESETS[0]]:
        values = [declared[preset][name][0] for preset in _PRESETS]
        if len(set(values)) > 1:
            yield _line(name, *values)
    same = [name for name in declared[_PRESETS[0]] if len({declared[preset][name][0] for preset in _PRESETS}) == 1]
    yield ""
    yield "The same on all of them:"
    yield ""
    for name in same:
        yield f"- {name}: {declared[_PRESETS[0]][name][0]}"


def _all_claims(declared: _Declared) -> Iterator[str]:
    yield "## What proves it"
    yield ""
    yield "Each of these checks fails on a preset that does not do what it declares. Who declares less is held to less."
    yield ""
    yield _line("declared", "checks")
    yield _line("---", "---")
    claims: dict[Claim, list[str]] = {}
    for name, (_, claim) in declared[_PRESETS[0]].items():
        if claim is not None:
            claims.setdefault(claim, []).append(name)
    for claim, names in claims.items():
        proofs = [f"`{check.name}`" for check in CHECKS if claim in check.proves]
        yield _line("; ".join(names), ", ".join(proofs))


def _all_checks(results: Results) -> Iterator[str]:
    yield "## All checks"
    yield ""
    yield "Where a check is left out, the reason is declared. The ids are those of the project's register of races."
    yield ""
    yield _line("check", "holds", *_PRESETS)
    yield _line(*["---"] * (2 + len(_PRESETS)))
    for check in CHECKS:
        cells = [results.get(preset, {}).get(check.name, _NOT_RUN) for preset in _PRESETS]
        yield _line(f"`{check.name}`: {check.summary.rstrip('.')}", ", ".join(check.holds), *cells)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _kept(page: str) -> dict[str, dict[str, str]]:
    """Read the results off a page."""
    results: dict[str, dict[str, str]] = {preset: {} for preset in _PRESETS}
    for name, cells in _ROW.findall(page.partition("## All checks")[2]):
        for preset, cell in zip(_PRESETS, cells.split("|"), strict=True):
            results[preset][name] = cell.strip()
    return results


def stale() -> list[str]:
    """Say what is wrong with the page, without a run."""
    page = PAGE.read_text()
    results = _kept(page)
    found = [
        f"docs/capabilities.md: {name} is {cell} on {preset}"
        for preset, of_preset in results.items()
        for name, cell in of_preset.items()
        if cell in (_NOT_RUN, "failed")
    ]
    if render(results) != page:
        found.append(
            "docs/capabilities.md does not fit the presets and the kit; `python scripts/capabilities.py --write`"
        )
    return found


def problems(run: Results) -> list[str]:
    """Say what is wrong with the page after a run."""
    kept = _kept(PAGE.read_text())
    return [
        f"docs/capabilities.md: {name} on {preset} is {ended!r} now, not {kept[preset].get(name, _NOT_RUN)!r}"
        for preset, of_preset in run.items()
        for name, ended in of_preset.items()
        if kept[preset].get(name) != ended
    ]


def check() -> None:
    """Check the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, action="append", default=[], help="how the checks ended; may be repeated")
    parser.add_argument("--write", action="store_true", help="make the page anew")
    options = parser.parse_args()
    runs: list[dict[str, dict[str, str]]] = [json.loads(path.read_text()) for path in options.run]
    if options.write:
        results = _kept(PAGE.read_text() if PAGE.exists() else "")
        for run in runs:
            for preset, of_preset in run.items():
                results.setdefault(preset, {}).update(of_preset)
        PAGE.write_text(render(results))
    found = [*stale(), *(problem for run in runs for problem in problems(run))]
    if found and options.run:
        found.append(f"if that is right: python scripts/capabilities.py --write --run {options.run[-1]}")
    if found:
        raise Failure("\n  ".join(["the table of capabilities is not in step:", *found]))
    print(f"{PAGE.relative_to(ROOT)} is in step with {len(_PRESETS)} presets and {len(CHECKS)} checks")


if __name__ == "__main__":
    main(check)
