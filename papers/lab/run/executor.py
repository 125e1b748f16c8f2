"""Where blocks run: spawned local processes with one torch thread each, or the workers of a Dask cluster.

Executors have the ``concurrent.futures`` interface. Workers compute and return; only the driver writes results. The
checkpoint of a running block is the one file that a local worker writes.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import signal
import sys
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.papers.lab.errors import UsageError
from attnlab.papers.lab.run.fingerprint import code_fingerprint
from attnlab.papers.lab.run.identity import BlockIdentity, replica_seeds
from attnlab.papers.lab.run.machine import one_thread, platform
from attnlab.papers.lab.run.ran import VERSIONS, here
from attnlab.papers.lab.run.spawned import SpawnContext
from attnlab.papers.lab.run.store import pack, unpack, write_atomically


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
    """What a worker gives back: the arrays, the seconds of this attempt, and what really ran."""

    arrays: dict[str, np.ndarray]
    seconds: float
    ran: dict[str, Any]


_progress: Any = None  # the driver's queue, in a local worker


def run_block(task: BlockTask) -> BlockResult:
    """Run one block on one thread. Where the code here is not the one asked for, nothing is computed: ``ran`` tells it."""
    from attnlab.simulators.ensemble import monitor

    asked = task.identity
    simulation = getattr(importlib.import_module(task.module), task.function)
    code = code_fingerprint(*task.roots)
    started = time.perf_counter()
    with one_thread():
        if code != asked.code or any(platform(asked.device).get(n) != asked.platform.get(n) for n in VERSIONS):
            return BlockResult({}, 0.0, here(code, task.roots, asked.device))
        seeds = replica_seeds(asked.simulation, asked.fields, asked.seed, asked.first, asked.size)
        with monitor.use(BlockMonitor(asked.key, task.checkpoint)):
            arrays = simulation(task.setting, seeds, asked.device)
        return BlockResult(arrays, time.perf_counter() - started, here(code, task.roots, asked.device))


def has_module(simulation: Any) -> bool:
    """Whether another process finds the simulation: it lies in a module that is not the main one."""
    module = simulation.module
    return module != "__main__" and getattr(sys.modules.get(module), "__spec__", None) is not None


def run_here(simulation: Any, setting: Any, seed: int, index: int, device: str) -> tuple[dict[str, np.ndarray], float]:
    """Run a block in this process: the same replicas, on one thread, as a worker would."""
    fields = {name: getattr(setting, name) for name in sorted(simulation.reads)}
    seeds = replica_seeds(simulation.name, fields, seed, index * simulation.block, simulation.block)
    started = time.perf_counter()
    with one_thread():
        arrays = simulation(setting, seeds, device)
    return arrays, time.perf_counter() - started


class BlockMonitor:
    """What a running simulation sees of the bench: progress to the driver, checkpoints to one hashed file."""

    def __init__(self, key: str, checkpoint: str | None) -> None:
        self._key = key
        self._path = None if checkpoint is None else Path(checkpoint)
        self._told = 0.0

    def progress(self, step: int, n_steps: int, loss: float | None = None) -> None:
        """Tell the driver, at most a few times a second."""
        now = time.monotonic()
        if _progress is not None and (now - self._told > 0.25 or step >= n_steps):
            self._told = now
            _progress.put((self._key, step, n_steps, loss))

    def save(self, arrays: dict[str, np.ndarray]) -> None:
        """Keep the state from which the block can go on."""
        if self._path is not None:
            data = pack(arrays)
            write_atomically(self._path, hashlib.sha256(data).digest() + data)

    def restore(self) -> dict[str, np.ndarray] | None:
        """The latest checkpoint, or None if there is none or it is not as written."""
        if self._path is None or not self._path.exists():
            return None
        data = self._path.read_bytes()
        if hashlib.sha256(data[32:]).digest() != data[:32]:
            return None
        return unpack(data[32:])


def local_executor(workers: int) -> tuple[Executor, Any]:
    """A pool of spawned processes and the queue on which they report progress."""
    context = SpawnContext()
    queue = context.Queue()
    return ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(queue, os.getpid())
    ), queue


def cluster_executor(address: str) -> Executor:
    """The workers of a Dask cluster, behind the same interface (extra ``cluster``)."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--on needs the extra 'cluster': pip install 'attnlab[cluster]'") from None
    try:
        return Client(address, timeout="10s").get_executor(pure=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"no Dask scheduler answers at --on {address}: {error}") from error


def _start_worker(queue: Any, driver: int) -> None:
    """Leave Ctrl-C to the driver, and end when the driver is gone, however it went."""
    global _progress
    _progress = queue
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
