"""Whether a Dask scheduler can be there at all: asked of the system, which knows at once what Dask waits for."""

from __future__ import annotations

import importlib.util
import socket
from urllib.parse import urlsplit

from attnlab.papers.lab.errors import UsageError

HELP = "docs/cluster.md tells how to start one"


def check_address(address: str | None) -> None:
    """Raise :class:`UsageError` if ``--on`` cannot work: no extra ``cluster``, no address, nothing that listens there."""
    if address is None:
        return
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("--on needs the extra 'cluster': pip install 'attnlab[cluster]'")
    problem = unreachable(address)
    if problem is not None:
        raise UsageError(f"no Dask scheduler answers at --on {address}: {problem} ({HELP})")


def unreachable(address: str) -> str | None:
    """Why nothing listens at an address, or None."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("tcp", "tls", "ws", "wss") or not host or not port:
        return "an address reads tcp://HOST:PORT, for example tcp://scheduler:8786"
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        return error.strerror or str(error) or "no answer"
    return None
