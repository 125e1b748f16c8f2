"""The level ``symbolic``: hand the exact statement to a sympy process with a time limit, and try simple points exactly.

Sympy can take for ever on a formula it cannot simplify, so the proof runs in a process of its own, which the limit
stops. The statement travels as plain JSON: the operations of the tape, rational constants as text, and the ends of
every variable.
"""

from __future__ import annotations

import itertools
import json
import math
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.analysis.exact.reading import highest, lowest
from attnlab.analysis.exact.tape import LEAVES, NotTraceable, Tape, operands
from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.cover import Cover
from attnlab.analysis.theorems.engines.exact_form import RecordedClaim, entry_inputs, record_claim
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import (
    Box,
    Domain,
    Integer,
    Permutation,
    PositiveDefinite,
    Simplex,
    Sphere,
)

MAX_OPERATIONS = 600  # sympy does not finish on more
MAX_CASES = 24
SECONDS = 20.0  # of processor time for sympy
START_SECONDS = 2.0  # for the process to start
SIMPLE_POINTS = 40


@dataclass(frozen=True)
class Proof:
    """``status`` is ``"proved"``, ``"refuted"`` (at ``point``) or ``"undecided"``; ``reason`` says how or why."""

    status: str
    reason: str
    point: dict[str, np.ndarray] | None = None


def prove(claim: Claim, seconds: float = SECONDS) -> Proof:
    """Prove a claim with sympy within ``seconds`` of processor time of a process of its own, or refute it at a simple
    point. A busy machine gives it as much processor time as an idle one."""
    for point in itertools.islice(simple_points(claim), SIMPLE_POINTS):
        if confirm(claim, point).violated:
            return Proof("refuted", "violation found at a simple point", point)
    try:
        statements = [_statement(*case) for case in _cases(claim)]
    except NotTraceable as reason:
        return Proof("undecided", f"no exact form: {reason}")
    if sum(len(s["entries"]) for s in statements) > MAX_OPERATIONS:
        return Proof("undecided", f"more than {MAX_OPERATIONS} operations; state it at a smaller size")

    _, allowed = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(START_SECONDS + seconds)
    limits = (wanted, wanted + 1) if allowed == resource.RLIM_INFINITY or wanted < allowed else (allowed, allowed)

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, limits)

    try:
        done = subprocess.run(
            [sys.executable, "-m", "attnlab.analysis.theorems.engines.proof_steps"],
            input=json.dumps(statements),
            text=True,
            capture_output=True,
            timeout=20 * (START_SECONDS + seconds),
            check=False,
            preexec_fn=limited,
        )
    except subprocess.TimeoutExpired:
        return Proof("undecided", f"sympy did not finish in {seconds:.3g} s; simplify the sides")
    if done.returncode < 0:
        return Proof("undecided", f"sympy did not finish in {seconds:.3g} s; simplify the sides")
    if done.returncode:
        return Proof("undecided", "sympy failed: " + (done.stderr.strip().splitlines() or ["no message"])[-1])
    answer = json.loads(done.stdout)
    return Proof("proved" if answer["proved"] else "undecided", answer["reason"])


def simple_points(claim: Claim) -> Iterator[dict[str, np.ndarray]]:
    """Points a person would try first: ends, 0, 1/2, 1, unit vectors, whole numbers at their ends."""
    options = [list(_simple_values(domain)) for domain in claim.variables.values()]
    for values in itertools.islice(itertools.product(*options), 200):
        yield dict(zip(claim.variables, values, strict=True))


def _simple_values(domain: Domain) -> Iterator[np.ndarray]:
    shape, n = domain.shape, math.prod(domain.shape)
    if isinstance(domain, Box):
        ends = [float(e) for e in (domain.low, domain.high) if math.isfinite(e)]
        candidates = dict.fromkeys([*ends, 0.0, 0.5, 1.0, -1.0, 2.0])
        levels = [x for x in candidates if domain.low <= x <= domain.high]
        yield from (np.full(shape, x) for x in levels)
        if n > 1:
            for k in range(min(n, 3)):
                yield np.array([levels[0] if i == k else levels[-1] for i in range(n)]).reshape(shape)
    elif isinstance(domain, Sphere):
        yield from (float(domain.radius) * row for row in np.eye(domain.n)[:3])
        yield np.full(shape, float(domain.radius) / math.sqrt(n))
    elif isinstance(domain, Simplex):
        yield from np.eye(domain.n)[:3]
        yield np.full(shape, 1 / n)
    elif isinstance(domain, PositiveDefinite):
        yield from (np.eye(domain.n) * x for x in (float(domain.low), float(domain.high)))
    elif isinstance(domain, Integer):
        yield from (np.asarray(k) for k in sorted({domain.low, min(domain.low + 1, domain.high), domain.high}))
    elif isinstance(domain, Permutation):
        yield from (np.arange(domain.n), np.arange(domain.n)[::-1].copy(), np.roll(np.arange(domain.n), 1))


def _cases(claim: Claim) -> Iterator[tuple[RecordedClaim, dict[tuple[str, int], tuple[Any, Any]]]]:
    whole = {name: domain for name, domain in claim.variables.items() if domain.whole}
    values = [_all_values(name, domain) for name, domain in whole.items()]
    if math.prod(len(v) for v in values) > MAX_CASES:
        raise NotTraceable(f"{', '.join(whole)} take more than {MAX_CASES} values")
    for choice in itertools.product(*values):
        cover = Cover()

        def inputs(tape: Tape, name: str, domain: Domain, cover: Cover = cover) -> np.ndarray:
            if isinstance(domain, Box) and not domain.bounded:
                value = entry_inputs(tape, name, domain)
                ends: Any = (domain.low, domain.high)
                cover.ends.update({(name, k): ends for k in range(value.size)})
                return value
            return cover.inputs(tape, name, domain)

        yield record_claim(claim, dict(zip(whole, choice, strict=True)), inputs), cover.ends


def _all_values(name: str, domain: Domain) -> list[np.ndarray]:
    if isinstance(domain, Integer) and domain.high - domain.low < MAX_CASES:
        return [np.asarray(k) for k in range(domain.low, domain.high + 1)]
    if isinstance(domain, Permutation) and math.factorial(domain.n) <= MAX_CASES:
        return [np.array(p) for p in itertools.permutations(range(domain.n))]
    raise NotTraceable(f"{name} takes too many values for sympy")


def _statement(recorded: RecordedClaim, ends: dict[tuple[str, int], tuple[Any, Any]]) -> dict[str, Any]:
    """One case as plain data; ``partial`` lists the entries that must be shown to be defined on the whole domain."""
    tape = recorded.tape

    def plain(op: str, args: tuple[Any, ...]) -> list[Any]:
        return [op, *map(str, args)] if op in ("constant", "rounded") else [op, *args]

    constants = [("", k, *args) for k, (op, args) in enumerate(tape.entries) if op == "rounded"]
    return {
        "entries": [plain(op, args) for op, args in tape.entries],
        "lower": recorded.lower,
        "upper": recorded.upper,
        "partial": _partial(tape, [*recorded.lower, *recorded.upper]),
        "ends": [[name, k, _end(low, lowest), _end(high, highest)] for (name, k), (low, high) in ends.items()]
        + [["", k, str(centre - radius), str(centre + radius)] for _, k, centre, radius in constants],
    }


def _partial(tape: Tape, outputs: list[int]) -> list[int]:
    """Entries that the outputs need and whose operation is not known to be defined wherever its arguments are."""
    needed, stack = set(), list(outputs)
    while stack:
        k = stack.pop()
        if k not in needed:
            needed.add(k)
            stack.extend(operands(*tape.entries[k]))
    return [
        k
        for k in sorted(needed)
        if tape.entries[k][0] not in LEAVES
        and not tape.total[k]
        and tape.entries[k][0]
        in ("div", "log", "log1p", "sqrt", "power", "tan", "asin", "acos", "acosh", "atanh", "lgamma")
    ]


def _end(value: Any, reading: Any) -> str | None:
    return str(reading(value)) if math.isfinite(value) else None
