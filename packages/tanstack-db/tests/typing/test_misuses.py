"""Type checkers refuse what ``misuses.py`` marks, line by line. Skipped where they are not installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

MISUSES = Path(__file__).with_name("misuses.py")


def marked() -> set[int]:
    lines = MISUSES.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def run(command: Sequence[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy")
def test_mypy(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    cache = pytestconfig.rootpath / ".mypy_cache" / "misuses"
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--no-error-summary"]
    output = run([sys.executable, "-m", "mypy", *options, str(MISUSES)], tmp_path)
    errors = re.findall(r"misuses\.py:(\d+): error:", output)
    assert {int(line) for line in errors} == marked(), output


@pytest.mark.skipif(find_spec("pyright") is None, reason="needs pyright")
def test_pyright(tmp_path: Path) -> None:
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    (tmp_path / MISUSES.name).write_text(MISUSES.read_text())
    options = ["--pythonpath", sys.executable, "--outputjson"]
    report = json.loads(run([sys.executable, "-m", "pyright", *options], tmp_path))
    errors = {
        problem["range"]["start"]["line"] + 1
        for problem in report["generalDiagnostics"]
        if problem["severity"] == "error"
    }
    assert errors == marked(), report["generalDiagnostics"]
