"""Presets: what carries the messages, found by name when it is needed.

A package provides one through an entry point::

    [project.entry-points."tanstack_realtime.presets"]
    centrifugo = "realtime_preset_centrifugo:preset"

The object it points to is a `Preset`: a client half, a server half, its environment variables and its capabilities.
Loading it must be cheap and must not import the server half's dependencies, so that the client half runs where those do
not exist. ``"package.module:name"`` instead of a name loads a preset that no installed package announces.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

from ._errors import ConfigurationError, UnknownPresetError
from ._http import Http
from ._settings import EnvVar
from ._transport import Capabilities, RealtimeTransport

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .server import ServerContext, ServerPreset

__all__ = ["PRESET_API", "PRESET_GROUP", "ClientContext", "Preset", "installed_presets", "load_preset"]

PRESET_GROUP: Final = "tanstack_realtime.presets"
"""The entry-point group in which packages announce presets."""

PRESET_API: Final = 1
"""Version of the `Preset` protocol."""

_KNOWN: Final[Mapping[str, str]] = {
    "node": "realtime-preset-node",
    "centrifugo": "realtime-preset-centrifugo",
    "ably": "realtime-preset-ably",
}

_MEMBERS: Final = (
    "name",
    "api_version",
    "capabilities",
    "client_env",
    "server_env",
    "create_transport",
    "create_server",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientContext:
    """What a preset's client half is built with.

    Attributes:
        url: base address of the server's realtime routes, or None.
        environ: values of the preset's `client_env`, by name.
        http: sends HTTP requests; works in a browser too.
    """

    url: str | None
    environ: Mapping[str, str]
    http: Http


@runtime_checkable
class Preset(Protocol):
    """Both halves of a provider."""

    @property
    def name(self) -> str:
        """The name in the configuration; client and server compare it."""
        ...

    @property
    def api_version(self) -> int:
        """The `PRESET_API` that it was written for."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it guarantees."""
        ...

    @property
    def client_env(self) -> Sequence[EnvVar]:
        """Environment variables of the client half."""
        ...

    @property
    def server_env(self) -> Sequence[EnvVar]:
        """Environment variables of the server half."""
        ...

    def create_transport(self, context: ClientContext, /) -> RealtimeTransport:
        """Return the client half.

        Raises:
            ConfigurationError: it cannot work with this context, for example without a URL.
        """
        ...

    def create_server(self, context: ServerContext, /) -> ServerPreset:
        """Return the server half, reading `server_env` from the environment.

        Raises:
            ConfigurationError: it cannot run here.
        """
        ...


def load_preset(name: str, /) -> Preset:
    """Find a preset.

    Args:
        name: an entry-point name such as ``"node"``, or ``"package.module:attribute"``.

    Raises:
        UnknownPresetError: nothing installed provides it; the message lists what is, and what to install.
        ConfigurationError: it is broken: it cannot be imported, is announced twice, or is no preset of this version.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        return _check(name, name, _import(name, f"{name!r} cannot be loaded", module, attribute))
    found = installed_presets()
    entries = [entry for entry in found if entry.name == name]
    if not entries:
        raise UnknownPresetError(_unknown(name, sorted({entry.name for entry in found})), reason="unknown preset")
    if len({entry.value for entry in entries}) > 1:
        raise ConfigurationError(
            f"preset {name!r} is provided by {' and by '.join(_origin(entry) for entry in entries)}; uninstall one, or "
            f"name the object: REALTIME_PRESET={entries[0].value}",
            reason="two packages provide the preset",
        )
    entry = entries[0]
    what = f"preset {name!r} of {_origin(entry)} cannot be loaded"
    return _check(name, _origin(entry), _import(name, what, entry.module, entry.attr))


def installed_presets() -> list[EntryPoint]:
    """Return the announced presets, by name, without importing them."""
    from importlib.metadata import entry_points

    return sorted(entry_points(group=PRESET_GROUP), key=lambda entry: (entry.name, entry.value))


def _import(name: str, what: str, module: str, attribute: str) -> object:
    try:
        target: object = importlib.import_module(module)
        for part in attribute.split("."):
            target = getattr(target, part)
    except ModuleNotFoundError as error:
        package = _KNOWN.get(name, "its package")
        raise ConfigurationError(
            f"{what}: {error}. Reinstall {package} with its dependencies (`pip install --force-reinstall …`)",
            reason=f"module {error.name!r} is missing",
        ) from error
    except Exception as error:
        raise ConfigurationError(f"{what}: {error!r}", reason=repr(error)) from error
    return target


def _check(name: str, origin: str, candidate: object) -> Preset:
    if not isinstance(candidate, Preset):
        members = (
            "name",
            "api_version",
            "capabilities",
            "client_env",
            "server_env",
            "create_transport",
            "create_server",
        )
        missing = [member for member in members if not hasattr(candidate, member)]
        raise ConfigurationError(
            f"preset {name!r} of {origin} is {candidate!r}, which lacks {', '.join(missing)}", reason="not a preset"
        )
    if candidate.api_version != PRESET_API:
        older = candidate.api_version < PRESET_API
        raise ConfigurationError(
            f"preset {name!r} of {origin} was written for version {candidate.api_version} of the preset protocol, this "
            f"tanstack-realtime has {PRESET_API}; upgrade {'the preset' if older else 'tanstack-realtime'}",
            reason="another version of the preset protocol",
        )
    return candidate


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _unknown(name: str, installed: Sequence[str]) -> str:
    text = f"no installed package provides the preset {name!r}"
    if name in _KNOWN:
        text += f"; `pip install {_KNOWN[name]}`"
    elif close := difflib.get_close_matches(name, [*installed, *_KNOWN], n=1):
        text += f"; did you mean {close[0]!r}?"
    return f"{text} (installed: {', '.join(installed) or 'none'})"
