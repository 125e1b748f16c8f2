"""Claims judged again on stored runs: what they hand to judges, which lines of theory they execute, and how long they take.

Nothing is simulated. What a claim asked of its simulations is noted once, with theory as it is; later judgements get the
same arrays in the same order, whatever theory would now put into a setting.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import numpy as np

from attnlab.analysis.judges.frame import watched
from attnlab.analysis.judges.resolution import unresolved
from attnlab.analysis.verdicts.ledger import ErrorLedger
from attnlab.analysis.verdicts.verdict import Verdict
from attnlab.papers.lab.declare import Claim, Scale
from attnlab.papers.lab.errors import ItemError
from attnlab.papers.lab.places import is_theory
from attnlab.papers.lab.power.mutants import Mutant, function_of, nudged
from attnlab.papers.lab.run.reproduce import BUDGET, Options, judge_in_looks
from attnlab.papers.lab.run.workbench import Lab, Workbench

CALLS_KEPT = 12  # calls of each function whose arguments are noted, to compare mutants with the original
DATA = {  # arguments of judges that are measured; all others but settings are predicted
    "measured", "trajectories", "curves", "y", "gaps", "smaller", "larger", "successes", "vectors", "a", "cases",
}  # fmt: skip
_SETTINGS = {"within", "refined", "steps", "x", "sizes", "check", "rounding"}


class StoredBench(Workbench):
    """A bench that reads the store and runs nothing."""

    def _submit(self, task: Any, name: str, run: Any = None) -> Any:
        raise ItemError(f"no stored run of {task.identity.simulation}: run `attnlab reproduce` at this scale first")


class Replay:
    """What a claim sees of a lab: the simulations of the first time, in their order."""

    def __init__(self, lab: Any, notes: list[Any] | None = None) -> None:
        self.scale, self.seed, self.used, self.diverged = lab.scale, lab.seed, lab.used, lab.diverged
        self.lab, self.replayed, self.notes = lab, notes is not None, [] if notes is None else notes
        self._next = 0

    def simulate(self, simulation: Any, *settings: Any) -> Any:
        """The arrays that the same call gave the first time."""
        if not self.replayed:
            found = self.lab.simulate(simulation, *settings)
            self.notes.append((simulation.name, len(settings), found))
            return found
        if self._next >= len(self.notes) or self.notes[self._next][:2] != (simulation.name, len(settings)):
            raise ItemError(f"{simulation.name} was not asked for in this order the first time")
        self._next += 1
        return self.notes[self._next - 1][2]

    def quantified(self, claim: Claim, setting: Any) -> Verdict:
        """The verdict on a claim about all inputs."""
        from attnlab.papers.lab.run.quantified import judge

        return judge(claim, setting, self.seed)


@dataclass
class Baseline:
    """A claim judged with theory as it is: its verdict, its judges' arguments, and what it executes of theory."""

    claim: Claim
    setting: Any
    share: float
    options: Options
    labs: list[Replay]
    verdict: Verdict
    arguments: list[dict[str, Any]]
    seconds: float
    lines: dict[str, set[int]] = field(default_factory=dict)
    calls: dict[tuple[str, str], list[Any]] = field(default_factory=dict)


def baseline(claim: Claim, bench: Any, scale: Scale, share: float) -> Baseline:
    """Judge a claim on stored runs and note everything that judging it again needs.

    ``bench`` makes labs, or is a function ``look -> lab``. Raises :class:`ItemError` where a run is not in the store.
    """
    setting, labs, options = claim.setting.at(scale), [], Options(scale, seed=getattr(bench, "seed", 0))

    def make(look: int) -> Replay:
        lab = bench(look) if callable(bench) else Lab(bench, scale, None, times=2 ** (look - 1))
        labs.append(Replay(lab))
        return labs[-1]

    judge_in_looks(claim, setting, make, ErrorLedger(BUDGET), share, options)
    clear_caches()
    started = time.perf_counter()
    verdict, arguments = judge_again(claim, setting, labs, share, options)
    seconds = time.perf_counter() - started
    clear_caches()
    with _Trace() as trace:
        judge_again(claim, setting, labs, share, options)
    return Baseline(
        claim, setting, share, options, labs, verdict, arguments, seconds, dict(trace.lines), dict(trace.calls)
    )


def again(known: Baseline) -> tuple[Verdict, list[dict[str, Any]]]:
    """The claim judged once more on the same arrays: its verdict (without what it resolves), and its judges' arguments."""
    with unresolved():
        return judge_again(known.claim, known.setting, known.labs, known.share, known.options)


def judge_again(
    claim: Claim, setting: Any, labs: list[Replay], share: float, options: Options
) -> tuple[Verdict, list[dict[str, Any]]]:
    """Judge on what the labs have noted; a look that was not taken the first time sees the last one's arrays."""
    with watched() as seen:
        verdict, _ = judge_in_looks(
            claim,
            setting,
            lambda look: Replay(labs[min(look, len(labs)) - 1].lab, labs[min(look, len(labs)) - 1].notes),
            ErrorLedger(BUDGET),
            share,
            options,
        )
    return verdict, seen


def movement(before: list[dict[str, Any]], after: list[dict[str, Any]], measured: bool | None = None) -> float:
    """By which share the numbers handed to judges changed, the largest over all: infinite if their form did.

    ``measured=True`` compares what was measured, False what was predicted, None both.
    """
    if not after and before:
        return np.inf
    worst = 0.0
    for old, new in zip(before, after, strict=False):  # a second look has judges of its own
        if old.keys() != new.keys():
            return np.inf
        for name in old:
            if name not in _SETTINGS and (measured is None or (name in DATA) is measured):
                worst = max(worst, change(old[name], new.get(name)))
    return worst


def change(old: Any, new: Any) -> float:
    """The largest difference in units of the largest number; 0 for what are no numbers, infinite for another shape."""
    if callable(old) or old is None or isinstance(old, str):
        return 0.0
    try:
        a, b = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    except (TypeError, ValueError):
        return 0.0
    if a.shape != b.shape:
        return np.inf
    if a.size == 0 or np.array_equal(a, b, equal_nan=True):
        return 0.0
    size, gap = float(np.max(np.abs(a))), float(np.max(np.abs(b - a)))
    return gap / size if size > 0 and np.isfinite(gap) else np.inf


def measured_with_theory(known: Baseline, nudge: float = 1e-6) -> float:
    """By which share what the claim *measures* moves if every number that theory returns is larger by ``nudge``.

    Zero for a measurement that knows nothing of the prediction: it is computed from records alone.
    """
    changed = [m for name in known.lines for m in nudged(importlib.import_module(name), 1 + nudge)]
    with contextlib.ExitStack() as stack:
        for mutant in changed:
            stack.enter_context(applied(mutant))
        try:
            _, arguments = again(known)
        except Exception:  # a theory that checks its own numbers may refuse them; then nothing was measured with them
            return 0.0
    return movement(known.arguments, arguments, measured=True)


@contextlib.contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    """Theory with the mutant in force, caches empty; restored afterwards."""
    function = function_of(importlib.import_module(mutant.module), mutant.function)
    assert function is not None  # a mutant is made from it
    original = function.__code__
    function.__code__ = mutant.code
    clear_caches()
    try:
        yield
    finally:
        function.__code__ = original
        clear_caches()


def clear_caches() -> None:
    """Forget what theory and papers have cached: it was computed with other code."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("attnlab.theory", "attnlab.papers")) and not name.startswith("attnlab.papers.lab"):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


class _Trace:
    """Lines and calls of functions of theory, of this thread."""

    def __init__(self) -> None:
        self.lines: dict[str, set[int]] = defaultdict(set)
        self.calls: dict[tuple[str, str], list[Any]] = defaultdict(list)

    def __enter__(self) -> _Trace:
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: Any) -> None:
        sys.settrace(self._before)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Any:
        module = frame.f_globals.get("__name__", "")
        if not is_theory(module):
            return None
        code, seen = frame.f_code, self.lines[module]
        kept = self.calls[(module, code.co_qualname)]
        if len(kept) < CALLS_KEPT and "<" not in code.co_qualname:
            found = inspect.getargvalues(frame)
            named = {name: found.locals[name] for name in (*found.args, *_keywords(code)) if name in found.locals}
            kept.append((named, tuple(found.locals.get(found.varargs, ())) if found.varargs else ()))
        seen.add(frame.f_lineno)

        def local(frame: FrameType, event: str, _: Any) -> Any:
            seen.add(frame.f_lineno)
            return local

        return local


def _keywords(code: Any) -> tuple[str, ...]:
    return code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
