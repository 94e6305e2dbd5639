"""Install every wheel alone in a clean environment, and run its tests there.

``python scripts/check_wheels.py [package ...]``, after ``make build``. A new environment gets the wheel and what it
asks for: siblings as wheels of this tree, everything else from the index, unlocked, as a user would get it. There the
package is imported, its version compared, the environment checked, and a copy of its tests run, outside the checkout.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _workspace import ROOT, UV, Failure, Package, main, packages, run

__all__ = ["build", "check_wheel"]

_IMPORT = """
import importlib, importlib.metadata, pathlib, sys
name, module_name, version = sys.argv[1:]
module = importlib.import_module(module_name)
assert pathlib.Path(module.__file__).is_relative_to(sys.prefix), f"{module.__file__} is not the installed one"
assert module.__version__ == importlib.metadata.version(name) == version, (module.__version__, version)
assert pathlib.Path(module.__file__).with_name("py.typed").exists(), "py.typed is missing"
"""


def build(dist: Path) -> None:
    """Build the wheel and the sdist of every package; each wheel is made from its sdist."""
    run(UV, "build", "--quiet", "--all-packages", "--out-dir", dist)


def check_wheel(package: Package, dist: Path, folder: Path) -> str:
    """Check one wheel; returns the closing line of its tests.

    Args:
        package: the package.
        dist: holds the wheels of all packages.
        folder: an empty folder to work in.

    Raises:
        Failure: something does not hold.
    """
    environment = folder / "venv"
    python = environment / "bin" / "python"
    # Siblings must be these wheels and no others, also where the index has packages with their names.
    siblings = folder / "siblings.txt"
    siblings.write_text("".join(f"{item.name} @ {item.wheel(dist).as_uri()}\n" for item in packages()))
    install = (UV, "pip", "install", "--quiet", "--python", python, "--constraints", siblings)

    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    run(*install, package.wheel(dist), cwd=folder)
    version = package.wheel(dist).name.split("-")[1]
    run(python, "-I", "-c", _IMPORT, package.name, package.module, version, cwd=folder)
    run(UV, "pip", "check", "--quiet", "--python", python)

    run(*install, "--no-sources", "--group", f"{package.folder / 'pyproject.toml'}:test", cwd=folder)
    run(UV, "pip", "check", "--quiet", "--python", python)
    shutil.copytree(package.folder / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "pytest.ini").write_text(_pytest_ini())
    # CI: Hypothesis is patient, and tries the same examples each time.
    tests = (python, "-P", "-m", "pytest", "-q", "tests")
    return run(*tests, cwd=folder, env={**os.environ, "CI": "true"}).splitlines()[-1]


def _pytest_ini() -> str:
    """Return the workspace's pytest settings as a file that knows nothing of the workspace."""
    options: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    lines = ["[pytest]"]
    for name, value in options.items():
        if name == "addopts":
            lines.append(f"{name} = {' '.join(value)}")
        elif name == "filterwarnings":
            lines += [f"{name} =", *(f"  {line}" for line in value)]
        elif name != "testpaths":
            lines.append(f"{name} = {str(value).lower()}")
    return "\n".join(lines) + "\n"


def check_all() -> None:
    """Check the packages named on the command line, or all."""
    known = {package.name: package for package in packages()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*", help=f"default: all of {', '.join(known)}")
    chosen: list[str] = parser.parse_args().packages or list(known)
    unknown = set(chosen) - set(known)
    if unknown:
        parser.error(f"no such package: {', '.join(unknown)}")

    failures: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()

        def check(package: Package) -> None:
            started = time.monotonic()
            work = folder / package.name
            work.mkdir()
            try:
                line = check_wheel(package, ROOT / "dist", work)
            except Failure as failure:
                failures.append(package.name)
                line = f"FAILED\n{failure}"
            print(f"{package.name} {package.version} ({time.monotonic() - started:.0f} s): {line}", flush=True)

        with ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(check, [known[name] for name in chosen]))
    if failures:
        raise Failure(f"wheels that do not hold: {', '.join(failures)}")


if __name__ == "__main__":
    main(check_all)
