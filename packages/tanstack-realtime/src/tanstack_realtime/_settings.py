"""Which preset, and where the server is: argument, then environment, then pyproject.toml, then the default.

======== ======================================= ==============================
setting  environment                             ``[tool.tanstack-realtime]``
======== ======================================= ==============================
preset   ``REALTIME_PRESET``                     ``preset = "centrifugo"``
url      ``REALTIME_URL``, ``VITE_REALTIME_URL`` ``url = "https://example.com"``
======== ======================================= ==============================

The table is taken from the nearest pyproject.toml, upward from the current directory, that has it. Secrets come from
the environment only; one in the table is an error, since that file is shared.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from ._errors import ConfigurationError

__all__ = ["DEFAULT_PRESET", "EnvVar", "Settings", "read_environment", "resolve_preset", "resolve_settings"]

DEFAULT_PRESET: Final = "node"
"""The preset that needs no other service."""

DEFAULT_MOUNT: Final = "/_realtime"
"""Where the server's routes are when a URL has no path."""

_TABLE: Final = "tanstack-realtime"
_KEYS: Final = ("preset", "url")
_SECRET: Final = re.compile(r"key|secret|token|password|credential", re.IGNORECASE)
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvVar:
    """An environment variable that a preset reads.

    Attributes:
        name: what to set.
        purpose: what it holds, for error messages and the command line.
        secret: whether it must not be shown or shared.
        required: whether the preset cannot do without.
        aliases: other names that are read when `name` is not set.
    """

    name: str
    purpose: str
    secret: bool = False
    required: bool = True
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force.

    Attributes:
        preset: the preset's name.
        preset_source: who named it: ``"argument"``, ``"REALTIME_PRESET"`` or the path of a pyproject.toml; None for the
            default.
        url: base address of the server's realtime routes, ``http`` or ``https``, without a slash at the end; or None.
    """

    preset: str
    preset_source: str | None
    url: str | None


def resolve_settings(
    *,
    preset: str | None = None,
    url: str | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Find the settings in force.

    Args:
        preset: the caller's choice, or None.
        url: the caller's choice, or None. ``ws`` becomes ``http``; a URL without a path means the default mount.
        environ: the environment; None for the process's own.
        directory: where to look for pyproject.toml, and upward from there; None for the current directory.

    Raises:
        ConfigurationError: a setting cannot be used; the message says where it comes from.
    """
    environment = os.environ if environ is None else environ
    table: tuple[str, Mapping[str, Any]] | None = None

    def look_up(name: str, argument: str | None, *variables: str) -> tuple[str, str] | None:
        nonlocal table
        if argument is not None:
            return _text(argument, f"{name}="), "argument"
        for variable in variables:
            if environment.get(variable):
                return environment[variable], variable
        if table is None:
            table = _project_table(Path.cwd() if directory is None else directory) or ("", {})
        path, values = table
        return (_text(values[name], f"{path}: {name}"), path) if name in values else None

    found = look_up("preset", preset, "REALTIME_PRESET")
    address = look_up("url", url, "REALTIME_URL", "VITE_REALTIME_URL")
    return Settings(
        preset=found[0] if found else DEFAULT_PRESET,
        preset_source=found[1] if found else None,
        url=_base_url(*address) if address else None,
    )


def resolve_preset(preset: str | None = None) -> str:
    """Return the preset's name in force: argument, environment, pyproject.toml, default.

    Raises:
        ConfigurationError: a setting cannot be used.
    """
    return resolve_settings(preset=preset).preset


def read_environment(
    preset: str, variables: Iterable[EnvVar], environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Read a preset's environment variables.

    Returns:
        The values by `EnvVar.name`, without those that are not set.

    Raises:
        ConfigurationError: required ones are missing; all of them are named.
    """
    environment = os.environ if environ is None else environ
    values: dict[str, str] = {}
    missing: list[EnvVar] = []
    for variable in variables:
        value = next((environment[name] for name in (variable.name, *variable.aliases) if environment.get(name)), None)
        if value is not None:
            values[variable.name] = value
        elif variable.required:
            missing.append(variable)
    if missing:
        lines = "".join(f"\n  {variable.name}=…   {variable.purpose}" for variable in missing)
        raise ConfigurationError(
            f"preset {preset!r} needs environment variables; set them before the process starts:{lines}",
            reason="missing environment variables: " + ", ".join(variable.name for variable in missing),
        )
    return values


def _project_table(directory: Path) -> tuple[str, Mapping[str, Any]] | None:
    for folder in (directory.absolute(), *directory.absolute().parents):
        path = folder / "pyproject.toml"
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not valid TOML: {error}") from error
        tool = content.get("tool")
        table = cast("Mapping[str, object]", tool).get(_TABLE) if isinstance(tool, Mapping) else None
        if table is None:
            continue
        where = f"{path}: [tool.{_TABLE}]"
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{where} must be a table with {' and '.join(_KEYS)}")
        for name in cast("Mapping[str, object]", table):
            if name in _KEYS:
                continue
            if _SECRET.search(name):
                raise ConfigurationError(
                    f"{where} holds {name!r}, which looks like a secret; remove it from the file, replace the secret "
                    "if the file was shared, and set the preset's environment variable instead "
                    "(`tanstack-realtime presets` lists them)",
                    reason="a secret in pyproject.toml",
                )
            raise ConfigurationError(f"{where} has no setting {name!r}; there are {' and '.join(_KEYS)}")
        return str(path), cast("Mapping[str, Any]", table)
    return None


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{where}{value!r} must be a non-empty string")
    return value


def _base_url(url: str, source: str) -> str:
    where = "url=" if source == "argument" else f"{source}: "
    try:
        parts = urlsplit(url)
        scheme, host, _ = _SCHEMES.get(parts.scheme.lower()), parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"{where}{url!r} is not a URL: {error}") from error
    if scheme is None or not host:
        raise ConfigurationError(f"{where}{url!r} is not the server's address; write http://host:port or https://host")
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(
            f"{where} must not carry a user, a query or a fragment, which end up in logs; pass get_token= or headers="
        )
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/') or DEFAULT_MOUNT}"
