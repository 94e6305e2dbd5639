"""``tanstack-realtime centrifugo config`` and ``compose``. Needs the extra ``cli``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import click

from tanstack_realtime import ConfigurationError

from ._compose import centrifugo_compose
from ._config import DEFAULT_ORIGINS, DEFAULT_PORT, centrifugo_config

__all__ = ["centrifugo"]

_HOST: Final = "http://host.docker.internal:3000/_realtime"

_output = click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write this file instead of printing. An existing one is replaced.",
)
_port = click.option(
    "--port", type=int, default=DEFAULT_PORT, show_default=True, help="Where clients connect to Centrifugo."
)


@click.group(short_help="Write Centrifugo's configuration, and services for a compose file.")
def centrifugo() -> None:
    """Write Centrifugo's configuration, and services for a compose file."""


@centrifugo.command(short_help="Print config.json for Centrifugo v6.")
@click.option(
    "--app-url",
    default=_HOST,
    show_default=True,
    metavar="URL",
    help="Your application as Centrifugo reaches it, with the path at which Realtime is mounted.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="PATTERN",
    default=DEFAULT_ORIGINS,
    show_default=True,
    help="Origin of pages whose browsers may connect, for example https://app.example.com. Repeat it for more.",
)
@click.option("--address", default="", metavar="ADDRESS", help="The interface to listen on. Default: all of them.")
@_port
@click.option("--internal-port", type=int, help="Serve the HTTP API, health and metrics there instead.")
@_output
def config(
    app_url: str, origins: tuple[str, ...], address: str, port: int, internal_port: int | None, output: Path | None
) -> None:
    """Print config.json for Centrifugo v6.

    It holds no secret. Centrifugo takes those from its environment: CENTRIFUGO_HTTP_API_KEY (your REALTIME_API_KEY),
    CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY (REALTIME_TOKEN_SECRET) and CENTRIFUGO_VAR_PROXY_SECRET
    (REALTIME_PROXY_SECRET).
    """
    try:
        found = centrifugo_config(app_url, origins=origins, address=address, port=port, internal_port=internal_port)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    _write(json.dumps(found, indent=2) + "\n", output)


@centrifugo.command(short_help="Print a compose file with Centrifugo.")
@_port
@click.option("--scale", is_flag=True, help="Two nodes with Redis instead of one that keeps everything in memory.")
@click.option("--host-network", is_flag=True, help="Take the host's network, on its loopback interface only. Linux.")
@_output
def compose(port: int, scale: bool, host_network: bool, output: Path | None) -> None:
    """Print a compose file with Centrifugo, for docker compose and for docker-compose 1.29.

    It mounts centrifugo.json, which `tanstack-realtime centrifugo config -o centrifugo.json` writes, and passes the
    secrets on from the environment or from .env.
    """
    try:
        text = centrifugo_compose(port=port, scale=scale, host_network=host_network)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    _write(text, output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)
