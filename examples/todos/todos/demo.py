"""The demonstration.

In a terminal it serves the web page and prints its addresses. With ``--terminal`` it shows one server and two client
processes in the terminal: it plays the story step by step with both clients side by side, and then lets you play on.
Without a terminal (or with ``--plain``) it prints each step of the story with what both clients saw. The exit code is 0
only if all of it happened. The story is one of the preset node: it kills the server that holds the connections.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
import time

from tanstack_realtime import resolve_settings

from .stage import Picture, Stage
from .story import tell

__all__ = ["main"]

INVITATION = """
  Todos are served. Put two windows side by side:

    {url}/?user=ada
    {url}/?user=bob

  and a client in another terminal, in examples/todos:

    python -m todos.terminal --user bob --url {url}

  Ctrl-C ends the server. Start it again: the windows come back with it.
"""


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


def serve(port: int) -> int:
    """Serve the web page until Ctrl-C."""
    import uvicorn

    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            print(f"port {port} cannot be used ({error.strerror}); choose another one, such as 8001", file=sys.stderr)
            return 1
        print(INVITATION.format(url=f"http://127.0.0.1:{port}"), flush=True)
        server = uvicorn.Server(
            uvicorn.Config("todos.server.app:app", log_level="warning", timeout_graceful_shutdown=2)
        )
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    return 0


def main() -> int:
    """Run the demonstration; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m todos", description="A live todo list.")
    parser.add_argument("--terminal", action="store_true", help="two clients in this terminal instead of the web page")
    parser.add_argument("--plain", action="store_true", help="print the story even in a terminal")
    parser.add_argument("port", nargs="?", type=int, default=8000, help="where to serve the web page")
    arguments = parser.parse_args()
    plain = arguments.plain or not (sys.stdin.isatty() and sys.stdout.isatty())
    preset = resolve_settings().preset
    if (plain or arguments.terminal) and preset != "node":
        # Where another service holds the connections they outlive the server, and nobody reconnects.
        print(
            f"the story kills the server and waits for a reconnect, which needs the preset node, and not {preset}; "
            "without --terminal and --plain, in a terminal, the web page is served on every preset",
            file=sys.stderr,
        )
        return 2
    if plain:
        try:
            asyncio.run(play_plain())
        except (AssertionError, TimeoutError, RuntimeError) as error:
            print(f"\nFAILED: {error}", *getattr(error, "__notes__", ()), sep="\n", file=sys.stderr)
            return 1
        return 0
    if arguments.terminal:
        from .screen import TodoDemo

        return TodoDemo().run() or 0
    return serve(arguments.port)


if __name__ == "__main__":
    sys.exit(main())
