"""The demonstration: one server, two client processes, one terminal.

In a terminal it plays the story step by step with both clients side by side, and then lets you play on. Without one (or
with ``--plain``) it prints each step with what both clients saw. Either way the exit code is 0 only if all of it
happened.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from .stage import Picture, Stage
from .story import tell

__all__ = ["main"]


def render(picture: Picture) -> str:
    """Return what a client shows as lines of text."""
    lines = [
        f"{'✔' if item.done else '○'} {item.text or '(empty)'}{'  …saving' if item.pending else ''}"
        for item in picture.items
    ]
    return "\n".join([*(lines or ["(nothing to do)"]), *([f"! {picture.notice}"] if picture.notice else [])])


async def play_plain() -> None:
    """Tell the story on standard output."""
    started = time.monotonic()
    async with Stage() as stage:
        number = 0
        async for sentence in tell(stage):
            number += 1
            print(f"\n{number}. {sentence}")
            for user, client in stage.clients.items():
                print(f"   {user} [{client.picture.status}]")
                for line in render(client.picture).splitlines():
                    print(f"      {line}")
    print(f"\nAll {number} steps happened, in {time.monotonic() - started:.1f} s.")


def main() -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(description="A live todo list in two client processes.")
    parser.add_argument("--plain", action="store_true", help="print the story even in a terminal")
    arguments = parser.parse_args()
    if arguments.plain or not (sys.stdin.isatty() and sys.stdout.isatty()):
        try:
            asyncio.run(play_plain())
        except (AssertionError, TimeoutError, RuntimeError) as error:
            print(f"\nFAILED: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
            return 1
        return 0
    from .screen import TodoDemo

    return TodoDemo().run() or 0


if __name__ == "__main__":
    sys.exit(main())
