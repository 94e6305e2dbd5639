"""The package's public face, and what importing it costs."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pkgutil
import subprocess
import sys
from types import ModuleType
from typing import TypeVar

import pytest

PACKAGE = "tanstack_realtime"
DISTRIBUTION = "tanstack-realtime"
PUBLIC_MODULES: set[str] = {
    "flet",
    "hooks",
    "nicegui",
    "opentelemetry",
    "react",
    "server",
    "server.opentelemetry",
    "solara",
    "testing",
    "textual",
}
FORBIDDEN = {
    "aiohttp",
    "anyio",
    "hypothesis",
    "httpx",
    "msgspec",
    "opentelemetry",
    "pydantic",
    "pytest",
    "ssl",
    "starlette",
    "uvicorn",
    "websockets",
}
ALLOWED_NATIVE: set[str] = set()


def modules() -> list[str]:
    """Return the names of all modules, the package first."""
    package = importlib.import_module(PACKAGE)
    return [PACKAGE, *(found.name for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."))]


def own_names(module: ModuleType) -> set[str]:
    """Return the public names of a module that this package defines."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not isinstance(value, TypeVar)
        and f"{getattr(value, '__module__', None)}.".startswith(f"{module.__name__}.")
    }


def test_the_version_is_the_metadatas() -> None:
    assert importlib.import_module(PACKAGE).__version__ == importlib.metadata.version(DISTRIBUTION)


@pytest.mark.parametrize("name", modules())
def test_all_names_exist_once(name: str) -> None:
    """Their order is ruff's (RUF022)."""
    module = importlib.import_module(name)
    listed = list(getattr(module, "__all__", ()))

    assert len(listed) == len(set(listed))
    assert [item for item in listed if not hasattr(module, item)] == []


@pytest.mark.parametrize("name", [PACKAGE, *(f"{PACKAGE}.{name}" for name in sorted(PUBLIC_MODULES))])
def test_what_is_public_is_listed(name: str) -> None:
    module = importlib.import_module(name)

    assert own_names(module) - set(getattr(module, "__all__", ())) == set()


def test_modules_are_private_unless_chosen() -> None:
    parts = [name.split(".")[1:] for name in modules()[1:]]
    private = [path for path in parts if any(part.startswith("_") for part in path)]

    assert {".".join(path) for path in parts if path not in private} == PUBLIC_MODULES


def test_importing_it_is_cheap() -> None:
    """No thread, no C extension from elsewhere, nothing of what only a server or a transport needs.

    `import asyncio` alone brings ssl and socket, so what it brings does not count.
    """
    script = f"""
import asyncio, importlib.util, json, sys, threading
before = set(sys.modules)
import {PACKAGE}
new = sorted(set(sys.modules) - before)
files = [getattr(sys.modules[name].__spec__, "origin", None) or "" for name in new if sys.modules[name].__spec__]
native = [f for f in files if f.endswith((".so", ".pyd")) and "lib-dynload" not in f]
print(json.dumps([new, native, threading.active_count()]))
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    new, native, threads = json.loads(printed)

    assert {name.partition(".")[0] for name in new} & FORBIDDEN == set()
    assert [path for path in native if not any(f"/{name}/" in path for name in ALLOWED_NATIVE)] == []
    assert threads == 1
