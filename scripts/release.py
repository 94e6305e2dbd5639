"""Release one package. Normally called by ``make release PKG=tanstack-db VERSION=0.2.0 [DRY_RUN=1]``.

``prepare`` checks the tree, the version, the changelog and the ranges of the siblings, writes the version, builds,
tests the wheel in a clean environment, commits, tags and pushes. The tag starts the workflow that calls ``publish``,
which alone talks to the index: there it is trusted, so no token exists. A dry run stops before the commit and leaves
the tree as it was.
"""

from __future__ import annotations

import argparse
import datetime
import re
import sys
import tempfile
from pathlib import Path

from _workspace import UV, Failure, Package, main, packages, run
from check_wheels import build, check_wheel
from packaging.version import InvalidVersion, Version

_UNRELEASED = "(unreleased)"


def check_version(package: Package, version: str) -> None:
    """Check that the version can follow the present one."""
    try:
        wanted, present = Version(version), Version(package.version)
    except InvalidVersion as error:
        raise Failure(f"VERSION={version}: {error}") from None
    if str(wanted) != version:
        raise Failure(f"VERSION={version}: write it as {wanted}")
    tag = f"{package.name}-v{version}"
    if run("git", "tag", "--list", tag).strip():
        raise Failure(f"{tag} exists already")
    if wanted < present:
        raise Failure(f"VERSION={version} is before the present {present}")


def check_siblings(package: Package, version: str) -> None:
    """Check that every range between siblings has the agreed form and takes the versions of this tree."""
    versions = {item.name: item.version for item in packages()} | {package.name: version}
    for item in packages():
        for requirement in item.requirements:
            if requirement.name not in versions:
                continue
            operators = sorted(specifier.operator for specifier in requirement.specifier)
            if operators != ["<", ">="]:
                raise Failure(f"{item.name} needs {requirement}; between siblings write a range: >=X.Y,<X+1")
            if not requirement.specifier.contains(versions[requirement.name], prereleases=True):
                raise Failure(
                    f"{item.name} needs {requirement}, which does not take {versions[requirement.name]}; widen the "
                    f"range in {item.folder.name}/pyproject.toml and release {item.name} as well"
                )


def dated_changelog(package: Package, version: str) -> str:
    """Return the changelog with today's date at the version's entry."""
    text = package.changelog.read_text()
    entry = re.search(rf"^## {re.escape(version)} (\S+)$", text, re.MULTILINE)
    if entry is None:
        raise Failure(f"{package.changelog} has no entry; add `## {version} {_UNRELEASED}` and what changed")
    body = text[entry.end() :].partition("\n## ")[0]
    if "- " not in body:
        raise Failure(f"{package.changelog}: the entry for {version} is empty")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return text[: entry.start(1)] + entry[1].replace(_UNRELEASED, f"({today})") + text[entry.end(1) :]


def check_built(package: Package, version: str) -> None:
    """Build everything, and test the package's wheel in a clean environment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        build(folder / "dist")
        built = package.wheel(folder / "dist").name.split("-")[1]
        if built != version:
            raise Failure(f"the wheel has version {built}, not {version}")
        (folder / "work").mkdir()
        print(f"{package.name} {version} from its wheel: {check_wheel(package, folder / 'dist', folder / 'work')}")


def prepare(package: Package, version: str, *, dry_run: bool) -> None:
    """Do everything up to the tag."""
    if run("git", "status", "--porcelain").strip():
        raise Failure("the tree has changes; commit them first (see `git status`)")
    check_version(package, version)
    check_siblings(package, version)
    changed = {path: path.read_text() for path in (package.version_file, package.changelog)}
    tag = f"{package.name}-v{version}"
    kept = False
    try:
        package.changelog.write_text(dated_changelog(package, version))
        if version != package.version:
            run(Path(sys.executable).with_name("hatch"), "version", version, cwd=package.folder)
        check_built(package, version)
        if dry_run:
            print(f"dry run: {tag} could be released; nothing was committed, tagged or published")
            return
        kept = True
    finally:
        if not kept:
            for path, text in changed.items():
                path.write_text(text)
    run("git", "commit", "--quiet", "--message", f"Release {package.name} {version}", "--", *changed)
    run("git", "tag", "--annotate", tag, "--message", f"{package.name} {version}")
    run("git", "push", "--atomic", "origin", "HEAD", f"refs/tags/{tag}")
    print(f"{tag} is pushed; the release workflow tests and publishes it")


def publish(package: Package, version: str) -> None:
    """Publish the package of a tag. For the release workflow."""
    if version != package.version:
        raise Failure(f"the tag says {version}, the tree has {package.version}")
    check_siblings(package, version)
    check_built(package, version)
    with tempfile.TemporaryDirectory() as dist:
        run(UV, "build", "--quiet", "--package", package.name, "--out-dir", dist)
        files = sorted(Path(dist).glob(f"{package.module}-*"))
        print(run(UV, "publish", "--trusted-publishing", "always", *files))


def release() -> None:
    """Read the command line."""
    known = {package.name: package for package in packages()}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    preparing = commands.add_parser("prepare")
    preparing.add_argument("package", choices=known)
    preparing.add_argument("version")
    preparing.add_argument("--dry-run", action="store_true")
    publishing = commands.add_parser("publish")
    publishing.add_argument("tag", help="for example tanstack-db-v0.2.0")
    given = parser.parse_args()
    if given.command == "prepare":
        prepare(known[given.package], given.version, dry_run=given.dry_run)
        return
    name, _, version = given.tag.rpartition("-v")
    if name not in known:
        raise Failure(f"{given.tag} is not a tag of a package; they look like tanstack-db-v0.2.0")
    publish(known[name], version)


if __name__ == "__main__":
    main(release)
