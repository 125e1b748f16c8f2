"""What really runs a block: libraries, instruction set, kernels, threads, code. It comes back with each block.

The driver expects its own platform; a worker tells its own, and :func:`settled` decides: the identity under which the block
may be kept, or an error that says what differs.
"""

from __future__ import annotations

import functools
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.fingerprint import modules_behind
from attnlab.papers.lab.run.identity import BlockIdentity
from attnlab.papers.lab.run.machine import platform, threads

VERSIONS = (
    "python",
    "torch",
    "numpy",
    "scipy",
)  # these must agree; the rest of the platform may differ and is written down


def here(code: str, roots: tuple[str, ...], device: str) -> dict[str, Any]:
    """What runs in this process, inside :func:`one_thread`; to be asked at the end of a block.

    ``code`` is the fingerprint of ``roots`` here. Of the builds that could not be had those count which the code can ask for:
    their sources lie beside its modules, or were made while it ran.
    """
    from attnlab.kernels.compiled.provenance import told

    said = told()
    sources = _sources(roots)
    missing = {
        name: reason
        for name, reason in said["missing"].items()
        if name.split(" ")[0] in sources or name.split(" ")[0] not in _every_source()
    }
    found = dict(platform(device))
    if missing and found["kernels"] != "torch":
        found["kernels"] += " without " + ", ".join(sorted(missing))
    return {
        "platform": found,
        "code": code,
        "threads": threads(),
        "loaded": said["loaded"],
        "missing": missing,
        "device": device,
        "host": socket.gethostname(),
    }


def settled(identity: BlockIdentity, ran: Mapping[str, Any]) -> tuple[BlockIdentity, str]:
    """The identity under which a block that ``ran`` so may be kept, and what differs, in words (empty: nothing).

    Raises :class:`UsageError` if other code, other versions of libraries or several threads made it: then nothing is kept.
    """
    where = f"the worker on {ran['host']}"
    expected, found = identity.platform, ran["platform"]
    versions = [
        f"{name} {found.get(name)} for {expected.get(name)}"
        for name in VERSIONS
        if found.get(name) != expected.get(name)
    ]
    if versions:
        raise UsageError(f"{where} has {', '.join(versions)}; install the same versions there. Nothing of it was kept")
    if ran["code"] != identity.code:
        raise UsageError(
            f"{where} ran other code for {identity.simulation} than this process has read ({ran['code'][:12]} for "
            f"{identity.code[:12]}); install the same attnlab there, or, if you edited files during the run, start it again. "
            "Nothing of it was kept"
        )
    if ran["threads"]:
        many = ", ".join(f"{n} threads of {name}" for name, n in ran["threads"].items())
        raise UsageError(
            f"{where} computed {identity.simulation} on {many}; "
            "results depend on it, so that nothing of it was kept. Set OMP_NUM_THREADS=1 there"
        )
    if ran["device"] != identity.device:
        raise UsageError(f"{where} computed {identity.simulation} on {ran['device']}, not on {identity.device}")
    if found == expected:
        return identity, ""
    words = [
        f"{name} {found.get(name, 'none')}, not {expected.get(name, 'none')}"
        for name in sorted({*found, *expected})
        if found.get(name) != expected.get(name)
    ]
    reasons = sorted(set(ran["missing"].values()))
    because = f" ({'; '.join(reason.splitlines()[0][:160] for reason in reasons)})" if reasons else ""
    return replace(identity, platform=dict(found)), f"{where} ran {'; '.join(words)}{because}: kept under that identity"


@functools.cache
def _sources(roots: tuple[str, ...]) -> frozenset[str]:
    """Names of the C sources that lie beside the modules behind ``roots``."""
    found = set()
    for name in modules_behind(*roots):
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and Path(file).name == "__init__.py":
            found |= {path.name for path in Path(file).parent.glob("*.c")}
    return frozenset(found - {"probe.c"})


@functools.cache
def _every_source() -> frozenset[str]:
    """Names of all C sources of attnlab."""
    import attnlab.kernels

    return frozenset(path.name for folder in attnlab.kernels.__path__ for path in Path(folder).rglob("*.c"))
