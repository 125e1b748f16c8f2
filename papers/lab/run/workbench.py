"""The bench that claims run on: results are read from the store, or their missing blocks are run and kept.

:class:`Bench` belongs to one run of the command line; it owns the store, the executor and the display.
:class:`Lab` is what one claim or figure sees of it.
"""

from __future__ import annotations

import math
import multiprocessing
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np

from attnlab.analysis.verdicts.verdict import Verdict
from attnlab.papers.lab.declare import Claim, Scale
from attnlab.papers.lab.errors import ItemError, UsageError
from attnlab.papers.lab.run import executor as executors
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.identity import block_identity, code_roots
from attnlab.papers.lab.run.ran import settled
from attnlab.papers.lab.run.store import DamagedBlock, Store


class Runs(Mapping[str, np.ndarray]):
    """Arrays of a simulation with the replica axis first, replicas that diverged left out.

    ``n`` replicas are in the arrays; ``diverged`` lists ``(replica, step)`` of those left out; ``setting`` is what was run.
    """

    def __init__(self, name: str, arrays: dict[str, np.ndarray], setting: Any = None) -> None:
        steps = arrays.get("diverged_at")
        kept = np.ones(len(next(iter(arrays.values()))), bool) if steps is None else steps < 0
        self.name, self.setting = name, setting
        self.n = int(kept.sum())
        self.diverged = [] if steps is None else [(int(r), int(steps[r])) for r in np.flatnonzero(~kept)]
        self._arrays = {key: value[kept] for key, value in arrays.items()}

    def __getitem__(self, key: str) -> np.ndarray:
        try:
            return self._arrays[key]
        except KeyError:
            raise KeyError(f"{self.name} returns no {key!r}; it returns {', '.join(sorted(self._arrays))}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{key} {value.shape}" for key, value in self._arrays.items())
        return f"Runs of {self.name}, {self.n} replicas: {arrays}"


class Bench:
    """Finds or computes blocks of replicas; every block is computed at most once, whoever asks for it."""

    def __init__(
        self,
        store: Store,
        display: Display,
        *,
        seed: int = 0,
        device: str = "cpu",
        workers: int = 1,
        address: str | None = None,
    ) -> None:
        self.store, self.display = store, display
        self.seed, self.device = seed, device
        self._workers, self._address = workers, address
        self._lock = threading.Lock()
        self._blocks: dict[str, Future] = {}
        self._executor: Any = None
        self.seconds = 0.0
        self.closed = False
        self._running_here = threading.Lock()
        self.judging = threading.Lock()
        self.judged: dict[Any, Any] = {}
        self._said: set[str] = set()

    def block(self, simulation: Any, setting: Any, index: int) -> Future:
        """A future of the arrays of block ``index`` and of the seconds they once took."""
        if not executors.has_module(simulation):
            return self._here(simulation, setting, index)
        identity = block_identity(simulation, setting, self.seed, index, self._device(simulation))
        key = identity.key
        with self._lock:
            if key in self._blocks:
                return self._blocks[key]
            ready: Future = Future()
            self._blocks[key] = ready
        if self.store.has(key):
            try:
                ready.set_result(self.store.get(key))
                return ready
            except DamagedBlock as damage:
                self.display.say(f"{simulation.name}: {damage}")
        checkpoint = None if self._address else str(self.store.checkpoint_path(key))
        roots = code_roots(simulation, setting)
        function = simulation.function.__name__
        task = executors.BlockTask(identity, simulation.module, function, setting, roots, checkpoint)
        self.display.add(
            key,
            f"{simulation.name} {_short(setting, simulation)} [{identity.first}–{identity.first + identity.size - 1}]",
        )

        def keep(done: Future) -> None:
            try:
                result = done.result()
                kept, differs = settled(identity, result.ran)
                if differs:
                    self._say_once(f"{simulation.name}: {differs}")
                self.store.put(kept.key, kept.record(), result.arrays, result.seconds)
                self.seconds += result.seconds
                self.display.done(key)
                ready.set_result(result.arrays)
            except BrokenProcessPool:
                ready.set_exception(
                    UsageError(
                        "a worker process was killed (often: out of memory). Run the same command again with fewer "
                        "--workers: finished blocks are kept"
                    )
                )
            except BaseException as error:  # handed to whoever waits for the block
                ready.set_exception(error)

        try:
            self._submit(task).add_done_callback(keep)
        except BrokenProcessPool as error:
            failed: Future = Future()
            failed.set_exception(error)
            keep(failed)
        return ready

    def _here(self, simulation: Any, setting: Any, index: int) -> Future:
        """A block of a simulation that no other process can import: run in this one and kept in memory only."""
        key = f"{id(simulation)} {setting!r} {index}"
        with self._lock:
            if key in self._blocks:
                return self._blocks[key]
            self._blocks[key] = ready = Future()
        self._say_once(
            f"{simulation.name} is defined in a script or a cell: it runs in this process, and its results are not stored; "
            "move it into a module beside to use workers and the store"
        )
        try:
            with self._running_here:
                arrays, seconds = executors.run_here(simulation, setting, self.seed, index, self._device(simulation))
            self.seconds += seconds
            ready.set_result(arrays)
        except BaseException as error:  # handed to whoever waits for the block
            ready.set_exception(error)
        return ready

    def close(self, *, now: bool = False) -> None:
        """Stop the workers; ``now`` ends them in the middle of their blocks (their checkpoints stay)."""
        self.closed = True
        if self._executor is None:
            return
        if now:
            for child in multiprocessing.active_children():
                child.terminate()
        if self._address:
            self._executor.shutdown(wait=not now)
        else:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _device(self, simulation: Any) -> str:
        """Where the simulation computes: the device of the run if it declares it, else the CPU, which is said once."""
        device = simulation.runs_on(self.device)
        if device != self.device:
            self._say_once(f"{simulation.name} runs on the CPU: it declares no {self.device}")
        return device

    def _say_once(self, text: str) -> None:
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        self.display.say(text)

    def _submit(self, task: executors.BlockTask) -> Future:
        with self._lock:
            if self._executor is None:
                if self._address:
                    self._executor = executors.cluster_executor(self._address)
                else:
                    self._executor, queue = executors.local_executor(self._workers)
                    self.display.listen(queue)
            return self._executor.submit(executors.run_block, task)


class Lab:
    """What a claim or a figure sees: ``simulate``, and the scale it runs at.

    ``scale`` is ``"smoke"``, ``"desk"`` or ``"paper"``, ``seed`` the run's; ``used`` and ``diverged`` record what was
    simulated.
    """

    def __init__(self, bench: Bench, scale: Scale, replicas: int | None = None, times: int = 1) -> None:
        self.scale = scale
        self.diverged: list[str] = []
        self.used: set[str] = set()
        self.runs: list[Runs] = []
        self.seed = bench.seed
        self._bench = bench
        self._replicas = replicas
        self._times = times

    def once(self, key: Any, judge: Callable[[], Any]) -> Any:
        """``judge()``, computed once a run for each key, whoever asks.

        One at a time: searches and proofs have a budget in seconds, which they must not lose to each other.
        """
        with self._bench.judging:
            if self._bench.closed:
                raise CancelledError
            if key not in self._bench.judged:
                self._bench.judged[key] = judge()
            return self._bench.judged[key]

    def quantified(self, claim: Claim, setting: Any) -> Verdict:
        """The verdict on a claim about all inputs, from those of its forms."""
        from attnlab.papers.lab.run.quantified import judge

        return self.once((claim.id, setting), lambda: judge(claim, setting, self.seed))

    def simulate(self, simulation: Any, *settings: Any) -> Any:
        """The runs of ``simulation`` at one setting, or the list of runs at several (computed side by side).

        The number of replicas is the setting's ``n_replicas``, twice as many at a second look at an undecided claim,
        unless ``--replicas`` says otherwise.
        """
        futures = []
        for setting in settings:
            n = self._replicas or setting.n_replicas * self._times
            blocks = [self._bench.block(simulation, setting, i) for i in range(math.ceil(n / simulation.block))]
            futures.append((setting, n, blocks))
        results = []
        for setting, n, blocks in futures:
            parts = [block.result() for block in blocks]
            joined = {key: np.concatenate([part[key] for part in parts])[:n] for key in parts[0]}
            runs = Runs(simulation.name, joined, setting)
            self.runs.append(runs)
            self.used.add(simulation.name)
            self.diverged += [
                f"{simulation.name}: replica {r} at step {s}, seed {self._bench.seed}" for r, s in runs.diverged
            ]
            if runs.n == 0:
                raise ItemError(f"every replica of {simulation.name} diverged; lower the learning rate")
            results.append(runs)
        return results[0] if len(settings) == 1 else results


def _short(setting: Any, simulation: Any) -> str:
    """The few fields that tell blocks apart in the display."""
    telling = [name for name in ("n_heads", "dim", "n_context", "n_steps", "n_tasks") if name in simulation.reads]
    return " ".join(f"{name}={getattr(setting, name)}" for name in telling)
