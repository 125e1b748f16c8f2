"""The power of a paper: which deliberate errors in theory its claims refute, which its tests see, and which nobody sees."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import math
import multiprocessing
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from attnlab.analysis.verdicts.verdict import Verdict
from attnlab.papers.lab.power.mutants import Mutant, function_of, mutants_of
from attnlab.papers.lab.power.rejudge import Baseline, again, applied, change, movement

MOVES = 0.05  # mutants that move a judged prediction by more count for the promise; smaller ones are reported apart
DIFFERS = 1e-9  # relative difference of a function's values that makes a mutant another theory
POINTS = 200  # at the paper's own arguments and at random ones around them
SLOW = 20.0  # seconds after which a claim or a test of a mutant is stopped, and counts as an error


@dataclass
class Fate:
    """What became of a mutant: by how much it moves a judged number, and who saw it."""

    mutant: Mutant
    moves: float = 0.0
    claims: dict[str, str] = field(default_factory=dict)
    killed_by_claim: str = ""
    killed_by_test: str = ""
    tested: bool = False

    @property
    def killed(self) -> bool:
        """Whether a claim or a test saw it."""
        return bool(self.killed_by_claim or self.killed_by_test)


def measure(
    known: Sequence[Baseline], *, sample: int, seconds: float, workers: int, tests: Path | None, seed: int = 0
) -> tuple[list[Fate], dict[str, int]]:
    """The fates of up to ``sample`` non-equivalent mutants, and how many were made, equivalent, and out of time.

    Mutants are made on lines of theory that some claim executes, as many of each operator as there are, in turn.
    """
    modules: dict[str, set[int]] = {}
    for each in known:
        for module, lines in each.lines.items():
            modules.setdefault(module, set()).update(lines)
    made = [m for name, lines in sorted(modules.items()) for m in mutants_of(importlib.import_module(name), lines)]
    chosen = _in_turn(made, sample, seed)
    deadline = time.monotonic() + seconds
    jobs = [(index, deadline, tests) for index in range(len(chosen))]
    global _KNOWN, _CHOSEN
    _KNOWN, _CHOSEN = list(known), chosen
    if workers > 1:
        with multiprocessing.get_context("fork").Pool(workers) as pool:
            found = pool.map(_fate, jobs, chunksize=1)
    else:
        found = [_fate(job) for job in jobs]
    fates = [_named(fate, chosen[i]) for i, fate in enumerate(found) if isinstance(fate, Fate)]
    counts = {
        "made": len(made),
        "tried": len(chosen),
        "equivalent": found.count("equivalent"),
        "out of time": found.count("out of time"),
    }
    return fates, counts


_KNOWN: list[Baseline] = []
_CHOSEN: list[Mutant] = []


def _named(fate: Fate, mutant: Mutant) -> Fate:
    fate.mutant = mutant
    return fate


def _fate(job: tuple[int, float, Path | None]) -> Any:
    index, deadline, tests = job
    mutant = _CHOSEN[index]
    if time.monotonic() > deadline:
        return "out of time"
    if not differs(mutant, _KNOWN):
        return "equivalent"
    fate = Fate(None)  # code does not travel between processes
    with applied(mutant):
        for each in sorted(_KNOWN, key=lambda known: known.seconds):
            if mutant.line in each.lines.get(mutant.module, ()):
                _judge(fate, each)
        if not fate.killed_by_claim and tests is not None:
            fate.tested, fate.killed_by_test = _run_tests(mutant, tests)
    return fate


def _predicted(verdict: Verdict) -> list[float | None]:
    """What the verdict predicts, or each of its parts: a compound one tells the number of its worst part, and a mutant may
    change which that is."""
    return [part.predicted for part in verdict.parts] or [verdict.predicted]


def _judge(fate: Fate, known: Baseline) -> None:
    """Judge a claim under the mutant in force."""
    try:
        with time_limit(max(SLOW, 5 * known.seconds)):
            verdict, arguments = again(known)
    except Exception as error:
        fate.claims[known.claim.id] = f"error: {type(error).__name__}"
        fate.killed_by_claim = fate.killed_by_claim or known.claim.id
        fate.moves = math.inf
        return
    before, after = str(known.verdict.outcome), str(verdict.outcome)
    predicted = zip(_predicted(known.verdict), _predicted(verdict), strict=False)
    moved = max(movement(known.arguments, arguments), *(change(old, new) for old, new in predicted))
    fate.moves = max(fate.moves, moved)
    fate.claims[known.claim.id] = after
    contradicts = after in ("REFUTED", "INVALID") and before not in ("REFUTED", "INVALID")
    if contradicts or (before == known.claim.expected == "REFUTED" and after == "HOLDS"):
        fate.killed_by_claim = fate.killed_by_claim or known.claim.id


def differs(mutant: Mutant, known: Sequence[Baseline]) -> bool:
    """Whether the function's values differ by more than 1e-9 at the paper's arguments, or at random ones around them."""
    function = function_of(importlib.import_module(mutant.module), mutant.function)
    rng = np.random.default_rng(0)
    calls = [call for each in known for call in each.calls.get((mutant.module, mutant.function), ())]
    if not calls:
        return True
    points = [*calls, *(_near(calls[i % len(calls)], rng) for i in range(max(0, POINTS - len(calls))))]
    started = time.monotonic()
    for named, rest in points:
        old = _value(function, named, rest)
        if old is None:
            continue
        with applied(mutant):
            new = _value(function, named, rest)
        if new is None or _unlike(old, new):
            return True
        if time.monotonic() - started > SLOW / 4:  # slow functions are compared at fewer points
            break
    return False


def _value(function: Any, named: dict[str, Any], rest: tuple) -> Any:
    code = function.__code__
    positional = [named[n] for n in code.co_varnames[: code.co_argcount] if n in named]
    keywords = {n: v for n, v in named.items() if n not in code.co_varnames[: code.co_argcount]}
    try:
        with time_limit(SLOW), np.errstate(all="ignore"):
            return function(*(copy.deepcopy(p) for p in positional), *rest, **keywords)
    except Exception:
        return None


def _unlike(old: Any, new: Any) -> bool:
    if isinstance(old, (tuple, list)) and isinstance(new, (tuple, list)):
        return len(old) != len(new) or any(_unlike(a, b) for a, b in zip(old, new, strict=True))
    if hasattr(old, "__dataclass_fields__") and type(old) is type(new):
        return any(_unlike(getattr(old, name), getattr(new, name)) for name in old.__dataclass_fields__)
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() != new.keys() or any(_unlike(old[k], new[k]) for k in old)
    if callable(old) or isinstance(old, str):
        return False if callable(old) and callable(new) else old != new
    return change(old, new) > DIFFERS


def _near(call: tuple, rng: np.random.Generator) -> tuple:
    """A call with its floats multiplied by numbers in (1/2, 2), and its whole numbers up to three larger."""

    def shaken(value: Any) -> Any:
        if isinstance(value, (bool, str)) or value is None:
            return value
        if isinstance(value, (int, np.integer)):
            return int(value) + int(rng.integers(0, 4))
        if isinstance(value, (float, np.floating)):
            return float(value) * float(2 ** rng.uniform(-1, 1))
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return value * 2 ** rng.uniform(-1, 1)
        return value

    named, rest = call
    return {name: shaken(value) for name, value in named.items()}, tuple(shaken(value) for value in rest)


def _run_tests(mutant: Mutant, tests: Path) -> tuple[bool, str]:
    """Run the tests of the module's subject in this process, its own first; whether there are any, and who failed."""
    import pytest

    *_, subject, name = mutant.module.split(".")
    folder = tests / "theory" / subject
    files = [folder / f"test_{name}.py", *sorted(folder.glob("test_*.py"))]
    files = [file for k, file in enumerate(files) if file.exists() and file not in files[:k]]
    for file in files:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            try:
                with time_limit(3 * SLOW):
                    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(file)])
            except Exception:
                status = 1
        if status not in (0, 5):
            return True, file.name
    return bool(files), ""


class TookTooLong(Exception):
    """A mutant that does not come to an end."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`TookTooLong` in the main thread after so many seconds (nested limits keep the outer one's clock)."""

    def stop(*_: Any) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    left = signal.setitimer(signal.ITIMER_REAL, seconds)[0]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)
        signal.signal(signal.SIGALRM, before)


def _in_turn(made: list[Mutant], sample: int, seed: int) -> list[Mutant]:
    """Up to ``sample`` of them, one of each module and operator in turn, in an order that only ``seed`` sets."""
    piles: dict[tuple[str, str], list[Mutant]] = {}
    for mutant in made:
        piles.setdefault((mutant.module, mutant.operator), []).append(mutant)
    order = random.Random(seed)
    for pile in piles.values():
        order.shuffle(pile)
    chosen: list[Mutant] = []
    while len(chosen) < min(sample, len(made)):
        for key in sorted(piles):
            if piles[key] and len(chosen) < sample:
                chosen.append(piles[key].pop())
    return chosen


def tests_folder() -> Path | None:
    """The tests of the repository that theory is imported from; None where only the package is installed."""
    import attnlab.theory

    folder = Path(next(iter(attnlab.theory.__path__))).parent / "tests"
    return folder if (folder / "theory").is_dir() else None
