"""What a worker does: one block on one thread, its progress told, its state kept in a checkpoint.

Workers compute and return; only the driver writes results. The checkpoint of a running block is the one file that a local
worker writes; it is bound to its block by a hash.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.writing import fault_point, write_atomically
from attnlab.papers.lab.errors import UsageError, environment_error
from attnlab.papers.lab.run.blocks import pack, unpack
from attnlab.papers.lab.run.fingerprint import code_fingerprint
from attnlab.papers.lab.run.identity import BlockIdentity, attribute_of, fields_of, replica_seeds
from attnlab.papers.lab.run.machine import one_thread, platform
from attnlab.papers.lab.run.ran import VERSIONS, here


@dataclass(frozen=True)
class BlockTask:
    """Everything a worker needs to compute one block of replicas."""

    identity: BlockIdentity
    module: str
    function: str
    setting: Any
    roots: tuple[str, ...]
    checkpoint: str | None = None


@dataclass(frozen=True)
class BlockResult:
    """What a worker gives back: the arrays, the seconds of this attempt, and what really ran.

    ``failed`` says why there are no arrays: ``(what to blame, message, traceback)``, to blame being ``"environment"`` or the
    name of an exception of the simulation.
    """

    arrays: dict[str, np.ndarray]
    seconds: float
    ran: dict[str, Any]
    failed: tuple[str, str, str] | None = None


_progress: Callable[..., None] | None = None  # how a local worker tells the driver


def tell_progress(tell: Callable[..., None] | None) -> None:
    """Let blocks of this process tell ``(key, step, n_steps, loss)`` to ``tell``."""
    global _progress
    _progress = tell


def run_block(task: BlockTask) -> BlockResult:
    """Run one block on one thread. Where the code here is not the one asked for, nothing is computed: ``ran`` tells it."""
    started = time.perf_counter()
    fault_point("block begun")
    try:
        return _run(task, started)
    except UsageError as error:
        failed = ("environment", str(error), "")
    except MemoryError as error:
        failed = ("MemoryError", f"{str(error) or 'out of memory'}; use fewer --workers", traceback.format_exc())
    except Exception as error:
        failed = (type(error).__name__, str(error), traceback.format_exc())
    return BlockResult({}, time.perf_counter() - started, {}, failed)


def _run(task: BlockTask, started: float) -> BlockResult:
    from attnlab.simulators.ensemble import monitor

    asked = task.identity
    simulation = getattr(importlib.import_module(task.module), task.function)
    if simulation.name != asked.simulation:
        raise UsageError(f"{task.module}.{task.function} is {simulation.name} here, not {asked.simulation}")
    code = code_fingerprint(*task.roots)
    with one_thread():
        if code != asked.code or any(platform(asked.device).get(n) != asked.platform.get(n) for n in VERSIONS):
            return BlockResult({}, 0.0, here(code, task.roots, asked.device))
        seeds = replica_seeds(asked.simulation, asked.fields, asked.seed, asked.first, asked.size)
        mine: Any = BlockMonitor(asked.key, task.checkpoint)
        with monitor.use(mine):
            arrays = simulation(task.setting, seeds, asked.device)
        fault_point("block computed")
        return BlockResult(arrays, time.perf_counter() - started, here(code, task.roots, asked.device))


def has_module(simulation: Any) -> bool:
    """Whether another process finds the simulation: it lies in a module that is not the main one, under some name."""
    module = simulation.module
    known = module != "__main__" and getattr(sys.modules.get(module), "__spec__", None) is not None
    return known and attribute_of(simulation) is not None


def run_here(simulation: Any, setting: Any, seed: int, index: int, device: str) -> tuple[dict[str, np.ndarray], float]:
    """Run a block in this process: the same replicas, on one thread, as a worker would."""
    seeds = replica_seeds(
        simulation.name, fields_of(simulation, setting), seed, index * simulation.block, simulation.block
    )
    started = time.perf_counter()
    with one_thread():
        arrays = simulation(setting, seeds, device)
    return arrays, time.perf_counter() - started


class BlockMonitor:
    """What a running simulation sees of the bench: progress to the driver, checkpoints to one file bound to its block."""

    def __init__(self, key: str, checkpoint: str | None) -> None:
        self._key = key
        self._path = None if checkpoint is None else Path(checkpoint)
        self._told = 0.0

    def progress(self, step: int, n_steps: int, loss: float | None = None) -> None:
        """Tell the driver, at most a few times per second."""
        now = time.monotonic()
        if _progress is not None and (now - self._told > 0.25 or step >= n_steps):
            self._told = now
            _progress(self._key, step, n_steps, loss)

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep the state from which the block can go on."""
        if self._path is not None:
            data = pack(arrays)
            try:
                write_atomically(self._path, self._digest(data) + data)
            except OSError as error:
                raise environment_error(error, f"write a checkpoint into {self._path.parent}") from error

    def restore(self) -> dict[str, np.ndarray] | None:
        """The latest checkpoint, or None if there is none, or it is not as written, or it is another block's."""
        if self._path is None:
            return None
        try:
            data = self._path.read_bytes()
            return unpack(data[32:]) if self._digest(data[32:]) == data[:32] else None
        except (OSError, ValueError):
            return None

    def _digest(self, data: bytes) -> bytes:
        return hashlib.sha256(f"attnlab-checkpoint-1 {self._key}\0".encode() + data).digest()
