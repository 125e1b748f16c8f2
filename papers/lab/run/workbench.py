"""The bench that claims run on: results are read from the store, or their missing blocks are run and kept.

:class:`Workbench` belongs to one run of the command line; it owns the store, the executor and the display.
:class:`Lab` is what one claim or figure sees of it.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, InvalidStateError
from typing import Any

import numpy as np

from attnlab.analysis.verdicts.verdict import Verdict
from attnlab.analysis.writing import fault_point
from attnlab.papers.lab.declare import Claim, Scale
from attnlab.papers.lab.errors import ItemError, UsageError, did_you_mean
from attnlab.papers.lab.run.blocks import DamagedBlock
from attnlab.papers.lab.run.care import adopt
from attnlab.papers.lab.run.display import Display
from attnlab.papers.lab.run.executor import BlockTask, has_module, run_block, run_here
from attnlab.papers.lab.run.identity import BlockIdentity, attribute_of, block_identity, code_roots
from attnlab.papers.lab.run.machine import platform
from attnlab.papers.lab.run.ran import settled
from attnlab.papers.lab.run.store import Store
from attnlab.papers.lab.run.workers import LocalWorkers


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
        self.n_diverged = len(self.diverged)
        self._arrays = {key: value[kept] for key, value in arrays.items()}

    def __getitem__(self, key: str) -> np.ndarray:
        try:
            return self._arrays[key]
        except KeyError:
            returned = sorted(self._arrays)
            near = did_you_mean(str(key), returned)
            raise KeyError(f"{self.name} returns no {key!r}{near}; it returns {', '.join(returned)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{key} {value.shape}" for key, value in self._arrays.items())
        return f"Runs of {self.name}, {self.n} replicas: {arrays}"


class Workbench:
    """Finds or computes blocks of replicas; every block is computed at most once, whoever asks for it."""

    def __init__(
        self,
        store: Store,
        display: Display,
        *,
        seed: int = 0,
        device: str = "cpu",
        workers: int = 1,
        cluster: Any = None,
    ) -> None:
        self.store, self.display = store, display
        self.seed, self.device = seed, device
        self._workers, self._cluster = workers, cluster
        self._lock = threading.Lock()
        self._blocks: dict[str, Future] = {}
        self._executor: Any = cluster
        self._said: set[str] = set()
        self.searches = 0  # claims about all inputs in this run
        self._searching, self._by_workers = threading.Lock(), threading.Semaphore(workers)
        self._found: dict[Any, Future] = {}
        self.seconds = 0.0
        self.closed = False
        self._running_here = threading.Lock()
        self.codes: dict[str, str] = {}
        self._simulations: dict[str, Any] = {}

    def block(self, simulation: Any, setting: Any, index: int) -> Future:
        """A future of the arrays of block ``index``.

        It is always resolved: with the arrays, with :class:`ItemError` where the simulation cannot give them, with
        :class:`UsageError` where the environment is at fault, or with ``CancelledError`` once the bench is closed.
        """
        if self._simulations.setdefault(simulation.name, simulation) is not simulation:
            twice: Future = Future()
            _resolve(twice, error=ItemError(
                f"two simulations are called {simulation.name!r}; a name stands for one simulation, at the top level of its "
                "module, and seeds its replicas: give the other another name, or make what differs a field of its setting"
            ))  # fmt: skip
            return twice
        if not has_module(simulation):
            return self._here(simulation, setting, index)
        device = self._device(simulation)
        platforms = self._cluster.platforms(device) if self._cluster else [platform(device)]
        identities = [block_identity(simulation, setting, self.seed, index, device, on) for on in platforms]
        identity = identities[0]
        self.codes[simulation.name] = identity.code
        with self._lock:
            if self.closed:
                raise CancelledError
            if identity.key in self._blocks:
                return self._blocks[identity.key]
            ready = self._blocks[identity.key] = Future()
        try:
            arrays = next(filter(None, (self._kept(simulation, each.key) for each in identities)), None)
            if arrays is not None:
                _resolve(ready, arrays)
            else:
                self._compute(simulation, setting, identity, ready)
        except BaseException as error:  # whoever waits for the block must hear of it
            _resolve(ready, error=error)
        return ready

    def _here(self, simulation: Any, setting: Any, index: int) -> Future:
        """A block of a simulation that no other process can import: run in this one and kept in memory only."""
        key = f"{id(simulation)} {setting!r} {index}"
        with self._lock:
            if key in self._blocks:
                return self._blocks[key]
            ready: Future = Future()
            self._blocks[key] = ready
        self.say_once(
            f"{simulation.name} is defined in a script or a cell: it runs in this process, and its results are not "
            "stored; move it into a module beside to use workers and the store"
        )
        try:
            with self._running_here:
                arrays, seconds = run_here(simulation, setting, self.seed, index, self._device(simulation))
            self.seconds += seconds
            _resolve(ready, arrays)
        except Exception as error:  # handed to whoever waits for the block
            _resolve(ready, error=ItemError(f"{simulation.name} raised {type(error).__name__}: {error}"))
        except BaseException as error:
            _resolve(ready, error=error)
        return ready

    def searched(self, claim: Claim, setting: Any) -> Verdict:
        """The verdict on a claim about all inputs, found once.

        Where a run has several such claims (:attr:`searches`) and several workers, the workers search, side by side; else, and
        where the paper is not one of attnlab, this process does, one claim at a time. The verdict is the same.
        """
        from attnlab.papers.lab.run.quantified import judge, search_task

        with self._lock:
            if self.closed:
                raise CancelledError
            first = (claim.id, setting) not in self._found
            found = self._found.setdefault((claim.id, setting), Future())
        if first:
            try:
                task = verdict = None
                if self._workers > 1 and self.searches > 1 and self._cluster is None:
                    task = search_task(claim, setting, self.seed)
                if task is not None:
                    verdict = self._judging(claim, self._by_workers, lambda: self._there(task, claim))
                if verdict is None:
                    verdict = self._judging(claim, self._searching, lambda: judge(claim, setting, self.seed))
                found.set_result(verdict)
            except BaseException as error:  # whoever waits for it must hear of it
                found.set_exception(error)
        return found.result()

    def _judging(self, claim: Claim, turn: Any, judge: Callable[[], Any]) -> Any:
        """``judge()`` when it is its turn, shown meanwhile."""
        with turn:
            if self.closed:
                raise CancelledError
            self.display.judging(claim.id)
            try:
                return judge()
            finally:
                self.display.judged(claim.id, item=False)

    def _there(self, task: Any, claim: Claim) -> Verdict | None:
        from attnlab.papers.lab.run.quantified import search

        return self._submit(task, claim.id, search).result()

    def _device(self, simulation: Any) -> str:
        """Where the simulation computes: the device of the run if it declares it, else the CPU, which is said once."""
        device = simulation.runs_on(self.device)
        if device != self.device:
            self.say_once(f"{simulation.name} runs on the CPU: it declares no {self.device}")
        return device

    def say_once(self, text: str) -> None:
        """A line that stays, once per run."""
        with self._lock:
            if text in self._said:
                return
            self._said.add(text)
        self.display.say(text)

    def close(self, *, now: bool = False) -> None:
        """Stop the workers; ``now`` ends them in the middle of their blocks (their checkpoints stay)."""
        with self._lock:
            self.closed = True
            executor, waiting = self._executor, list(self._blocks.values())
        if executor is not None:
            executor.close(now=now)
        for future in waiting:
            _resolve(future, error=CancelledError())

    def _kept(self, simulation: Any, key: str) -> dict[str, np.ndarray] | None:
        try:
            return self.store.get(key) if self.store.has(key) or adopt(self.store, key) else None
        except DamagedBlock as damage:
            self.display.say(f"{simulation.name}: {damage}")
            return None

    def _compute(self, simulation: Any, setting: Any, identity: BlockIdentity, ready: Future) -> None:
        checkpoint = None if self._cluster else str(self.store.checkpoint_path(identity.key))
        held = attribute_of(simulation)
        assert held is not None  # else it runs here
        task = BlockTask(identity, simulation.module, held, setting, code_roots(simulation, setting), checkpoint)
        last = identity.first + identity.size - 1
        name = f"{simulation.name} {_short(setting, simulation)} [{identity.first}–{last}]".replace("  ", " ")
        self.display.add(identity.key, name)

        def keep(done: Future) -> None:
            try:
                result = done.result()
                fault_point("block received")
                if result.failed is not None:
                    raise _failure(name, *result.failed)
                kept, differs = settled(identity, result.ran)
                if differs:
                    self.say_once(f"{simulation.name}: {differs}")
                self.store.put(kept.key, kept.record(), result.arrays, result.seconds, task.roots, result.ran)
                if kept.key != identity.key:
                    self.store.drop_checkpoint(identity.key)
                self.seconds += result.seconds
                self.display.done(identity.key)
                _resolve(ready, result.arrays)
            except BaseException as error:  # handed to whoever waits for the block
                _resolve(ready, error=error)

        if self._cluster:
            for _, seconds in self.store.seconds_of(simulation.name)[:1]:
                self._cluster.know(simulation.name, seconds)
        self._submit(task, name).add_done_callback(keep)

    def _submit(self, task: Any, name: str, run: Callable[[Any], Any] | None = None) -> Future:
        with self._lock:
            if self.closed:
                raise CancelledError
            if self._executor is None:
                self._executor = LocalWorkers(self._workers, run_block, self.display.progress, self.display.say)
            return self._executor.submit(task, name) if run is None else self._executor.submit(task, name, run)


def _failure(name: str, blame: str, message: str, trace: str) -> Exception:
    if blame == "environment":
        return UsageError(message)
    failed = ItemError(f"{name} raised {blame}: {message}")
    if trace:
        failed.add_note(f"in a worker process:\n{trace}")
    return failed


def _resolve(future: Future, result: Any = None, error: BaseException | None = None) -> None:
    """Give a future its result or error unless it has one."""
    with contextlib.suppress(InvalidStateError):
        future.set_result(result) if error is None else future.set_exception(error)


class Lab:
    """What a claim or a figure sees: ``simulate``, and the scale it runs at.

    ``scale`` is ``"smoke"``, ``"desk"`` or ``"paper"``, ``seed`` the run's; ``used`` and ``diverged`` record what was
    simulated.
    """

    def __init__(self, bench: Workbench, scale: Scale, replicas: int | None = None, times: int = 1) -> None:
        self.scale = scale
        self.diverged: list[str] = []
        self.used: set[str] = set()
        self.runs: list[Runs] = []
        self.seed = bench.seed
        self._bench = bench
        self._replicas = replicas
        self._times = times

    def look(self, times: int) -> None:
        """Begin once more, with so many times the replicas; what was used and what diverged is forgotten."""
        self.diverged, self.used, self.runs, self._times = [], set(), [], times

    def quantified(self, claim: Claim, setting: Any) -> Verdict:
        """The verdict on a claim about all inputs, from those of its forms."""
        return self._bench.searched(claim, setting)

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
                raise ItemError(
                    f"every replica of {simulation.name} diverged ({self.diverged[-runs.n_diverged]}, ...); "
                    "lower the learning rate"
                )
            results.append(runs)
        return results[0] if len(settings) == 1 else results


def _short(setting: Any, simulation: Any) -> str:
    """The few fields that tell blocks apart in the display."""
    telling = [name for name in ("n_heads", "dim", "n_context", "n_steps", "n_tasks") if name in simulation.reads]
    return " ".join(f"{name}={getattr(setting, name)}" for name in telling)
