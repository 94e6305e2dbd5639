"""The package's public face, and what importing it costs."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
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


def test_it_registers_no_preset_before_it_works() -> None:
    names = {point.name for point in importlib.metadata.entry_points(group="tanstack_realtime.presets")}
    assert "ably" not in names
