"""The command ``tanstack-realtime``: what is installed, and what presets add.

A preset's package adds a sub-command, a `click.Command`, through the entry-point group ``tanstack_realtime.commands``.
Needs the extra ``cli``.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from typing import TYPE_CHECKING, Any, Final

from ._errors import RealtimeError
from ._presets import installed_presets, load_preset
from ._settings import EnvVar, resolve_settings
from ._version import __version__

if TYPE_CHECKING:
    import click

__all__ = ["COMMAND_GROUP", "main"]

COMMAND_GROUP: Final = "tanstack_realtime.commands"
"""The entry-point group in which packages announce sub-commands."""


def main() -> None:
    """Run the command line."""
    if importlib.util.find_spec("click") is None:
        sys.exit("the command tanstack-realtime needs click: pip install 'tanstack-realtime[cli]'")
    _build()(prog_name="tanstack-realtime")


def _build() -> click.Group:
    import click

    class Commands(click.Group):
        """The own commands, and those that packages announce, imported when they are called."""

        def list_commands(self, ctx: click.Context) -> list[str]:
            return sorted({*super().list_commands(ctx), *_announced()})

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            own = super().get_command(ctx, cmd_name)
            entry = _announced().get(cmd_name)
            if own is not None or entry is None:
                return own
            try:
                command: object = entry.load()
            except Exception as error:  # noqa: BLE001 -- one broken package must not hide the other commands
                return _broken(cmd_name, f"{entry.value} cannot be loaded: {error!r}")
            return command if isinstance(command, click.Command) else _broken(cmd_name, f"{entry.value} is no command")

    def _broken(name: str, why: str) -> click.Command:
        def fail() -> None:
            raise click.ClickException(why)

        return click.Command(name, callback=fail, short_help=f"(broken: {why})")

    @click.group(cls=Commands, help="TanStack Realtime for Python.", context_settings={"max_content_width": 120})
    @click.version_option(__version__)
    def root() -> None: ...

    @root.command(short_help="List installed presets, their variables and what they guarantee.")
    def presets() -> None:  # pyright: ignore[reportUnusedFunction] -- click holds it
        """List installed presets, their environment variables and what they guarantee.

        The preset that is in force here is marked with a star.
        """
        found = {entry.name: entry for entry in installed_presets()}
        if not found:
            click.echo("no preset is installed; for example: pip install realtime-preset-node")
            return
        try:
            chosen = resolve_settings().preset
        except RealtimeError as error:
            raise click.ClickException(str(error)) from error
        failed = False
        for name, entry in found.items():
            version = f" ({entry.dist.name} {entry.dist.version})" if entry.dist is not None else ""
            click.echo(f"{'*' if name == chosen else ' '} {name}{version}")
            try:
                lines = _describe(name)
            except RealtimeError as error:
                failed = True
                lines = [f"broken: {error}"]
            for line in lines:
                click.echo(f"    {line}")
        if failed:
            raise click.exceptions.Exit(1)

    return root


def _announced() -> dict[str, Any]:
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in entry_points(group=COMMAND_GROUP)}


def _describe(name: str) -> list[str]:
    preset = load_preset(name)
    can = preset.capabilities
    lines = [
        f"recovery: {f'yes, the last {can.history} messages of a channel' if can.recovery else 'no'}",
        f"ordering: {_yes(can.ordering)}   echo: {_yes(can.echo)}   native presence: {_yes(can.native_presence)}",
        f"collections publish: {'over the connection' if can.publish_over_link else 'through /_realtime/publish'}",
        f"largest message: {can.max_message_bytes} bytes   revocation: {_delay(can.revocation_delay)}",
        f"retries: {can.retry_schedule}",
    ]
    for side, variables in (("client", preset.client_env), ("server", preset.server_env)):
        lines += [f"{side} reads {_variable(variable)}" for variable in variables]
    return lines


def _variable(variable: EnvVar) -> str:
    names = " or ".join((variable.name, *variable.aliases))
    notes = [*(["secret"] if variable.secret else []), *([] if variable.required else ["optional"])]
    return f"{names}: {variable.purpose}" + (f" ({', '.join(notes)})" if notes else "")


def _delay(seconds: float) -> str:
    return f"within {seconds:g} s" if math.isfinite(seconds) else "at the next connection"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
