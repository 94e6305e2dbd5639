"""Check what the code blocks of the documentation do not: links, tables and changelogs.

* Every relative link and image leads to a file, every anchor to a heading.
* Every page of docs/ is reachable from docs/index.md.
* README.md and docs/index.md name every package.
* docs/capabilities.md fits the presets and the conformance kit.
* Every package's changelog has an entry for its version on top, or above it one that is unreleased.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from _workspace import ROOT, Failure, main, packages
from capabilities import stale

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
_ENTRY = re.compile(r"^## (\S+) \((\S+)\)$", re.MULTILINE)


def pages() -> list[Path]:
    """Return every Markdown file that is part of the documentation."""
    patterns = ("*.md", "docs/**/*.md", "packages/*/*.md", "examples/*/*.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Give path and anchor of each relative link of a page."""
    text = _CODE.sub("", _FENCE.sub("", page.read_text()))
    for target in _LINK.findall(text):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made for Markdown."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def problems() -> Iterator[str]:
    """Give what is wrong, one line each."""
    reached: set[Path] = set()
    for page in pages():
        here = page.relative_to(ROOT)
        for path, anchor in links(page):
            target = (page.parent / path).resolve() if path else page
            if not target.exists():
                yield f"{here}: link to {path}, which does not exist"
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                yield f"{here}: link to {path}#{anchor}, but there is no such heading"
            elif page == ROOT / "docs" / "index.md":
                reached.add(target)
    for page in ROOT.glob("docs/**/*.md"):
        if page != ROOT / "docs" / "index.md" and page not in reached:
            yield f"docs/index.md does not link to {page.relative_to(ROOT)}"
    yield from stale()
    for package in packages():
        for page in (ROOT / "README.md", ROOT / "docs" / "index.md"):
            if package.name not in page.read_text():
                yield f"{page.relative_to(ROOT)} does not name {package.name}"
        entries = _ENTRY.findall(package.changelog.read_text())
        released = [version for version, when in entries if when != "unreleased" or version == package.version]
        if released[:1] != [package.version] or len(entries) > len(released) + 1:
            yield f"{package.changelog.relative_to(ROOT)}: the newest entry is not ## {package.version} (when)"


def check() -> None:
    """Print what is wrong."""
    found = list(problems())
    if found:
        raise Failure("\n  ".join(["the documentation does not hold together:", *found]))
    print(f"{len(pages())} pages hold together")


if __name__ == "__main__":
    main(check)
