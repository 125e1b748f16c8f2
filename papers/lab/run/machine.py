"""The machine under a result: its libraries, instruction sets and kernels, and the one thread on which blocks run."""

from __future__ import annotations

import functools
import os
import platform as system
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

_threads = threading.Lock()
_inside = 0
_undo: Any = None


@functools.cache
def platform(device: str) -> dict[str, str]:
    """Library versions, instruction sets and kernels of this process: whatever may change the bits of a result."""
    import torch

    from attnlab.kernels.compiled.compiler import working_target

    record = {
        "kernels": working_target()[0] or "torch",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": _version("scipy"),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "blas": " ".join(sorted({f"{lib['internal_api']} {lib['architecture']}" for lib in _blas()})) or "none",
        "processor": _processor(),
    }
    if os.environ.get("MKL_CBWR"):
        record["mkl"] = os.environ["MKL_CBWR"]
    if device.startswith("cuda"):
        record["gpu"] = torch.cuda.get_device_name(device)
        record["cuda"] = str(torch.version.cuda)
    return record


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, OpenMP and every BLAS of this process, as long as any block is inside."""
    global _inside, _undo
    import torch
    from threadpoolctl import threadpool_limits

    _blas()  # a library that is loaded later would keep all its threads
    with _threads:
        if _inside == 0:
            _undo = (torch.get_num_threads(), threadpool_limits(1))
            torch.set_num_threads(1)
        _inside += 1
    try:
        yield
    finally:
        with _threads:
            _inside -= 1
            if _inside == 0:
                before, limits = _undo
                limits.restore_original_limits()
                torch.set_num_threads(before)


def threads() -> dict[str, int]:
    """How many threads each library may use now, where it is more than one."""
    import torch
    from threadpoolctl import threadpool_info

    found = {"torch": torch.get_num_threads()}
    found |= {f"{lib['internal_api']} ({Path(lib['filepath']).name})": lib["num_threads"] for lib in threadpool_info()}
    return {name: n for name, n in found.items() if n != 1}


@functools.cache
def _blas() -> list[dict[str, Any]]:
    """The linear algebra libraries of numpy and scipy, all loaded: what threadpoolctl says of each."""
    import scipy.linalg  # noqa: F401  (loads scipy's own library beside numpy's)
    from threadpoolctl import threadpool_info

    return [lib for lib in threadpool_info() if lib["user_api"] == "blas" and "architecture" in lib]


@functools.cache
def _processor() -> str:
    """Vendor, family and model: some libraries choose their code by these and not by the instruction set."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return system.processor() or system.machine()
    rows = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    named = [rows[name] for name in ("vendor_id", "cpu family", "model") if name in rows]
    return " ".join(named) or system.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
