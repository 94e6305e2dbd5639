"""The package's public face, and what importing it costs."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys
from types import ModuleType
from typing import TypeVar

import pytest

PACKAGE = "realtime_preset_ably"
DISTRIBUTION = "realtime-preset-ably"
PUBLIC_MODULES = {"emulator"}


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


def test_it_registers_its_preset() -> None:
    [entry] = [
        point for point in importlib.metadata.entry_points(group="tanstack_realtime.presets") if point.name == "ably"
    ]

    assert entry.load().name == "ably"


CLIENT = """
import sys
import realtime_preset_ably
from tanstack_realtime import ClientContext
realtime_preset_ably.preset.create_transport(ClientContext(url=None, environ={}, http=None))
print(sorted(name for name in ("starlette", "uvicorn", "jwt", "realtime_preset_ably._server") if name in sys.modules))
"""

SERVER = """
import os, sys
os.environ["ABLY_API_KEY"] = "app.key:secret"
from tanstack_realtime.server import Permissions, Realtime
Realtime(authorize=lambda u, c: Permissions(), get_user=lambda c: None, preset="ably")
print(sorted(name for name in ("ably", "websockets", "uvicorn", "jwt") if name in sys.modules))
"""


@pytest.mark.parametrize("half", [CLIENT, SERVER])
def test_neither_half_imports_the_other(half: str) -> None:
    found = subprocess.run([sys.executable, "-c", half], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"
