"""``tanstack-realtime ably serve``. Needs the extra ``emulator``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import click

__all__ = ["ably"]

_PORT: Final = 8790
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(short_help="Serve Ably's protocol on this machine.")
def ably() -> None:
    """Serve Ably's protocol on this machine."""


@ably.command(short_help="Serve Ably's protocol, for development without an account.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The interface to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=_PORT,
    show_default=True,
    help="The port to listen on. 0 takes a free one.",
)
@click.option(
    "--key",
    metavar="APP.KEY:SECRET",
    help="The API key. Default: a new one. With the same key, tokens outlive a restart.",
)
@click.option("--tls-cert", type=_file, help="Serve TLS with this certificate (PEM, with its chain).")
@click.option("--tls-key", type=_file, help="The private key of the certificate (PEM).")
def serve(host: str, port: int, key: str | None, tls_cert: Path | None, tls_key: Path | None) -> None:
    """Serve Ably's protocol, for development without an account.

    It prints the settings with which an application uses it. Everything is in memory and ends with the command.
    """
    if (tls_cert is None) != (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    tls = (tls_cert, tls_key) if tls_cert is not None and tls_key is not None else None
    try:
        asyncio.run(_serve(host, port, key, tls))  # noqa: TID251 -- a command, not a library
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is missing: pip install 'realtime-preset-ably[emulator]'") from error
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


async def _serve(host: str, port: int, key: str | None, tls: tuple[Path, Path] | None) -> None:
    from . import emulator as package  # what it needs may be missing

    try:
        async with package.serve(host=host, port=port, key=key, tls=tls) as emulator:
            click.echo(f"ABLY_API_KEY={emulator.key}")
            click.echo(f"ABLY_ENDPOINT={emulator.url}")
            click.echo("serving Ably's protocol; stop with Ctrl-C", err=True)
            if host not in _LOOPBACK:
                click.echo(f"listening on {host}: whoever reaches it can make apps in it", err=True)
            await asyncio.Event().wait()
    except package.AblyError as error:
        raise click.UsageError(f"--key: {error.message}") from error
    except OSError as error:
        raise click.ClickException(f"cannot serve on {host} port {port}: {error.strerror or error}") from error
