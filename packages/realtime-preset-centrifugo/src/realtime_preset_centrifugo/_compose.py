"""Services for a compose file: Centrifugo alone, or two nodes of it with Redis.

The text is one that Docker's compose plugin and docker-compose 1.29 both take: without a ``version``, with health
checks, and with conditions on what a service waits for.
"""

from __future__ import annotations

from typing import Final

from tanstack_realtime import ConfigurationError

from ._config import CONTAINER_ENV, DEFAULT_PORT

__all__ = ["IMAGE", "centrifugo_compose"]

IMAGE: Final = "centrifugo/centrifugo:v6.9.1"
"""The version that the preset is tested with."""

_REDIS_IMAGE: Final = "redis:7-alpine"

_PROVIDES: Final = ("REALTIME_API_URL", "REALTIME_API_KEY", "VITE_REALTIME_URL")
"""Variables of the application whose values follow from this service."""

_HEAD: Final = """\
# Made by `tanstack-realtime centrifugo compose{flags}`.
# Beside it stands centrifugo.json, which `tanstack-realtime centrifugo config -o centrifugo.json` writes.
# REALTIME_API_KEY, REALTIME_TOKEN_SECRET and REALTIME_PROXY_SECRET come from the environment or from .env, the same as
# for the application.
services:
"""

_REDIS_NOTE: Final = """\
    # Nothing is written to disk: history and presence do not outlive Redis, and clients then fetch what they show anew.
"""


def centrifugo_compose(*, port: int = DEFAULT_PORT, scale: bool = False, host_network: bool = False) -> str:
    """Return a compose file.

    ``CENTRIFUGO_IMAGE``, ``CENTRIFUGO_CONFIG``, ``CENTRIFUGO_PORT``, and with `scale` ``CENTRIFUGO_SECOND_PORT``,
    ``REDIS_IMAGE`` and, on the host's network, ``REDIS_PORT`` replace what stands in it.

    Args:
        port: where clients connect, on the loopback interface; a second node takes the next one. It must be the port of
            the configuration.
        scale: two nodes that share a Redis, instead of one that keeps everything in memory.
        host_network: take the host's network instead of one of the project's own; then the application's address in the
            configuration is one on 127.0.0.1, and nothing listens elsewhere. Linux only.

    Raises:
        ConfigurationError: the port cannot be used.
    """
    last = port + 1 if scale else port
    if isinstance(port, bool) or not 0 < port <= last < 65_536:
        raise ConfigurationError(f"port {port!r}: pass a number from 1 to {65_534 if scale else 65_535}")
    flags = [
        *([f" --port {port}"] if port != DEFAULT_PORT else []),
        *([" --scale"] if scale else []),
        *([" --host-network"] if host_network else []),
    ]
    head = _HEAD.format(flags="".join(flags))
    if not scale:
        return head + _node("centrifugo", "CENTRIFUGO_PORT", port, inside=port, redis=False, host_network=host_network)
    return (
        head
        + _redis(host_network=host_network)
        + _node("centrifugo", "CENTRIFUGO_PORT", port, inside=port, redis=True, host_network=host_network)
        + _node("centrifugo-2", "CENTRIFUGO_SECOND_PORT", last, inside=port, redis=True, host_network=host_network)
    )


def _node(name: str, port_variable: str, port: int, *, inside: int, redis: bool, host_network: bool) -> str:
    outside = f"${{{port_variable}:-{port}}}"
    listens = outside if host_network else str(inside)
    environment = {target: f"${{{source}:?set {source}}}" for target, source in CONTAINER_ENV.items()}
    environment |= {"CENTRIFUGO_HTTP_SERVER_PORT": listens}
    if host_network:
        environment |= {"CENTRIFUGO_HTTP_SERVER_ADDRESS": "127.0.0.1"}
    if redis:
        host = "127.0.0.1:${REDIS_PORT:-6379}" if host_network else "redis:6379"
        environment |= {
            "CENTRIFUGO_ENGINE_TYPE": "redis",
            "CENTRIFUGO_ENGINE_REDIS_ADDRESS": f"redis://{host}",
        }
    lines = [
        f"  {name}:",
        f"    image: ${{CENTRIFUGO_IMAGE:-{IMAGE}}}",
        "    command: centrifugo -c config.json",
        "    working_dir: /centrifugo",
        "    restart: on-failure",
        "    volumes:",
        '      - "${CENTRIFUGO_CONFIG:-./centrifugo.json}:/centrifugo/config.json:ro"',
        "    environment:",
        *(f'      {key}: "{value}"' for key, value in environment.items()),
        *_network(outside, listens, host_network=host_network),
        *(["    depends_on:", "      redis:", "        condition: service_healthy"] if redis else []),
        *_health(f'"wget", "-qO-", "http://127.0.0.1:{listens}/health"'),
        "    x-lovable:",
        f"      provides: [{', '.join(_PROVIDES)}]",
    ]
    return "\n".join(lines) + "\n"


def _redis(*, host_network: bool) -> str:
    port = "${REDIS_PORT:-6379}" if host_network else "6379"
    bind = " --bind 127.0.0.1" if host_network else ""
    lines = [
        "  redis:",
        f"    image: ${{REDIS_IMAGE:-{_REDIS_IMAGE}}}",
        f"    command: redis-server --port {port}{bind} --save '' --appendonly no",
        "    restart: on-failure",
        *(["    network_mode: host"] if host_network else []),
        *_health(f'"redis-cli", "-p", "{port}", "ping"'),
    ]
    return "\n".join([lines[0], _REDIS_NOTE.rstrip("\n"), *lines[1:]]) + "\n"


def _network(outside: str, listens: str, *, host_network: bool) -> list[str]:
    if host_network:
        return ["    network_mode: host"]
    return [
        "    ports:",
        f'      - "127.0.0.1:{outside}:{listens}"',
        "    extra_hosts:",
        # An application that runs on the host is http://host.docker.internal, on Linux, too.
        '      - "host.docker.internal:host-gateway"',
    ]


def _health(command: str) -> list[str]:
    return [
        "    healthcheck:",
        f'      test: ["CMD", {command}]',
        "      interval: 2s",
        "      timeout: 2s",
        "      retries: 15",
    ]
