"""How many processes serve the application, as far as a process can see."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, Final

__all__ = ["Claim", "served_address", "worker_count"]

_SERVERS: Final = frozenset({"uvicorn", "gunicorn", "hypercorn", "granian", "fastapi"})
_VARIABLES: Final = ("WEB_CONCURRENCY", "UVICORN_WORKERS", "GRANIAN_WORKERS")
_OPTIONS: Final = ("--workers", "-w")


def worker_count(environ: Mapping[str, str], argv: Sequence[str]) -> int:
    """Return the number of worker processes that the environment or the command line asks for; 1 if neither does.

    Servers that start workers keep the command line of the parent in them, so this sees it from inside a worker. What
    a configuration file or the application's own code says stays unseen; see `Claim`.
    """
    asked = [_number(environ.get(name)) for name in _VARIABLES]
    try:
        arguments = shlex.split(environ.get("GUNICORN_CMD_ARGS", ""))
    except ValueError:  # gunicorn itself will complain
        arguments = []
    return max(1, *asked, _from_command_line(argv), _from_options(arguments))


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _from_command_line(argv: Sequence[str]) -> int:
    if not argv:
        return 0
    program = PurePath(argv[0])
    # "python -m uvicorn" has the path of uvicorn/__main__.py there.
    names = {program.stem, program.parent.name} if program.stem == "__main__" else {program.stem}
    return _from_options(argv[1:]) if names & _SERVERS else 0


def _from_options(argv: Sequence[str]) -> int:
    for index, argument in enumerate(argv):
        option, _, value = argument.partition("=")
        if option in _OPTIONS:
            return _number(value or (argv[index + 1] if index + 1 < len(argv) else None))
        if argument.startswith("-w") and argument[2:].isdigit():
            return _number(argument[2:])
    return 0


def served_address(scope: Mapping[str, Any]) -> str | None:
    """Return the address that a connection came to, as far as only one server can have it; None for a test's."""
    server: object = scope.get("server")
    match server:
        case (str() as host, int() as port) if port > 0:
            try:
                return f"{ipaddress.ip_address(host)} {port} {scope.get('root_path', '')} {scope.get('path', '')}"
            except ValueError:
                return None
        case _:
            return None


class Claim:
    """Says that this process serves an address. Another process of the same parent that does too is a worker.

    A lock on a file in the temporary directory, which ends with the process however that ends. Where there are no such
    locks (Windows) every claim succeeds.
    """

    def __init__(self, directory: str | None = None) -> None:
        self._directory = directory or tempfile.gettempdir()
        self._files: list[int] = []

    def make(self, address: str) -> bool:
        """Claim an address, and tell whether no other process has it."""
        if sys.platform == "win32":
            return True
        import fcntl

        name = hashlib.sha256(f"{os.getuid()} {os.getppid()} {address}".encode()).hexdigest()[:24]
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            file = os.open(os.path.join(self._directory, f"tanstack-realtime-{name}"), flags, 0o600)
        except OSError:
            return True  # nothing to look at: no reason to worry anybody
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(file, 32, 0)
            os.close(file)
            return owner in (b"", str(os.getpid()).encode())
        os.ftruncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        self._files.append(file)
        return True

    def release(self) -> None:
        """Give up what was claimed."""
        files, self._files = self._files, []
        for file in files:
            os.close(file)
