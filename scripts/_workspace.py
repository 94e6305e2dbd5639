"""What the scripts know about the packages of this workspace."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

__all__ = ["ROOT", "UV", "Failure", "Package", "main", "packages", "run"]

ROOT = Path(__file__).parent.parent
UV = os.environ.get("UV", "uv")


class Failure(Exception):
    """Something that must hold does not; the message says what."""


@dataclass(frozen=True)
class Package:
    """One distribution of the workspace.

    Attributes:
        name: of the distribution, for example ``"tanstack-db"``.
        folder: where its pyproject.toml is.
        requirements: what it needs, extras included.
    """

    name: str
    folder: Path
    requirements: tuple[Requirement, ...]

    @property
    def module(self) -> str:
        """The name it is imported by."""
        return self.name.replace("-", "_")

    @property
    def version_file(self) -> Path:
        return self.folder / "src" / self.module / "_version.py"

    @property
    def changelog(self) -> Path:
        return self.folder / "CHANGELOG.md"

    @property
    def version(self) -> str:
        found = re.fullmatch(r'__version__ = "(.+)"\n', self.version_file.read_text())
        if found is None:
            raise Failure(f'{self.version_file} must be the one line __version__ = "…"')
        return found[1]

    def wheel(self, dist: Path) -> Path:
        """Return its wheel in a folder of wheels."""
        found = list(dist.glob(f"{self.module}-*.whl"))
        if len(found) != 1:
            raise Failure(f"{dist} holds {len(found)} wheels of {self.name}, not one")
        return found[0]


def packages() -> list[Package]:
    """Return the packages, by name."""
    found: list[Package] = []
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        project: dict[str, Any] = tomllib.loads(path.read_text())["project"]
        lists = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
        requirements = tuple(Requirement(line) for lines in lists for line in lines)
        found.append(Package(project["name"], path.parent, requirements))
    return found


def run(*command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed.

    Raises:
        Failure: it ended with an error; the message holds what it printed.
    """
    words: Sequence[str] = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise Failure(f"$ {' '.join(words)}  (in {cwd})\n{done.stdout}{done.stderr}")
    return done.stdout


def main(script: Callable[[], None]) -> None:
    """Run a script: its failure is printed without a traceback."""
    try:
        script()
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
