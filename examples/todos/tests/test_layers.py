"""Which files of the application may know that it is live."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

APPLICATION = Path(__file__).parent.parent / "todos"
PURE = [
    APPLICATION / "components.py",
    APPLICATION / "schemas.py",
    APPLICATION / "web" / "components.py",
    *sorted((APPLICATION / "db").glob("*.py")),
    *sorted((APPLICATION / "server" / "functions").glob("*.py")),
]
PRESETS = ("realtime_preset_node", "realtime_preset_centrifugo", "realtime_preset_ably")


def imported(file: Path) -> set[str]:
    """Top-level names of the packages that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("file", PURE, ids=lambda file: str(file.relative_to(APPLICATION)))
def test_components_and_server_functions_import_no_realtime(file: Path) -> None:
    assert not imported(file) & {"tanstack_realtime", *PRESETS}


def test_no_file_names_a_provider() -> None:
    for file in APPLICATION.rglob("*.py"):
        assert not imported(file) & set(PRESETS), file
