"""How many processes serve the application, as far as a process can see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Final

__all__ = ["worker_count"]

_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "fastapi"})
_OPTIONS: Final = ("--workers", "-w")


def worker_count(environ: Mapping[str, str], argv: Sequence[str]) -> int:
    """Return the number of worker processes that the environment or the command line asks for; 1 if neither does.

    Servers that start workers keep the command line of the parent in them, so this sees it from inside a worker. What
    a configuration file says stays unseen.
    """
    return max(1, _number(environ.get("WEB_CONCURRENCY")), _from_command_line(argv))


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _from_command_line(argv: Sequence[str]) -> int:
    if not argv:
        return 0
    program = PurePath(argv[0])
    # "python -m uvicorn" has the path of uvicorn/__main__.py there.
    names = {program.stem, program.parent.name} if program.stem == "__main__" else {program.stem}
    if not names & _SERVERS:
        return 0
    for index, argument in enumerate(argv):
        option, _, value = argument.partition("=")
        if option in _OPTIONS:
            return _number(value or (argv[index + 1] if index + 1 < len(argv) else None))
        if argument.startswith("-w") and argument[2:].isdigit():
            return _number(argument[2:])
    return 0
