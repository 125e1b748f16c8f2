"""Where a violation may hide without a slope to it: the inner parts of the recorded statement are followed themselves.

``exp(-(x - c)^2 / w^2)`` is flat a few widths away, but its argument is not. So the arguments of saturating functions,
the two sides of maxima and minima, margins of cases, arguments of absolute values, roots, logarithms and floors, and
divisors are themselves driven up, down and to zero from a few points, and the points reached are climbed from.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from attnlab.analysis.exact.tape import SELECT, Tape, operands
from attnlab.analysis.exact.values import ALL, torch_values
from attnlab.analysis.theorems.engines.coordinates import Latent
from attnlab.analysis.theorems.engines.evaluate import arrays, tensors
from attnlab.analysis.theorems.engines.lbfgs import minimise
from attnlab.analysis.theorems.engines.objective import Objective
from attnlab.analysis.theorems.statement.claim import Claim

PARTS = 24  # inner parts followed per round
FROM = 3  # points each is followed from
STEPS = 25
MOST_TOGETHER = 64
_SATURATING = ("exp", "expm1", "tanh", "sigmoid", "erf", "erfc", "atan")
_KINKED = ("abs", "sqrt", "log", "floor", "max", "min", *SELECT, "div", "power", "square", "log1p")


class Guide:
    """The inner parts of one claim, in a fixed random order that rounds walk through."""

    def __init__(self, claim: Claim, objective: Objective) -> None:
        self.objective = objective
        self.tape: Tape | None = objective.exact.tape if objective.exact is not None else None
        self.parts: list[tuple[tuple[int, ...], str]] = parts_of(self.tape) if self.tape is not None else []
        self.together = together_of(self.tape) if self.tape is not None else []
        order = np.random.default_rng(0).permutation(len(self.parts))
        first = [k for k in order if self.parts[k][1] != "zero"][: PARTS // 2]
        self.parts = [self.parts[k] for k in [*first, *(k for k in order if k not in set(first))]]
        self.next = 0

    def points(
        self, latent: Latent, points: dict[str, np.ndarray], generator: np.random.Generator, late: Callable[[], bool]
    ) -> dict[str, np.ndarray] | None:
        """Points reached by following the next inner parts from some of the given points."""
        if not self.parts or self.tape is None:
            return None
        each = min(PARTS, len(self.parts))
        chosen = [*self.together, *(self.parts[(self.next + k) % len(self.parts)] for k in range(each))]
        self.next += each
        n = len(next(iter(points.values())))
        rows = generator.integers(0, n, len(chosen) * FROM)
        start = {name: v[rows] for name, v in points.items()}
        fixed = tensors(start)
        part = np.repeat(np.arange(len(chosen)), FROM)

        def minus(z: torch.Tensor) -> torch.Tensor:
            here = latent.unpack(z, fixed)
            self.objective.evaluator.count += len(z)
            flat = {name: t.reshape(len(z), -1) for name, t in here.items()}
            values = torch_values(self.tape, ALL, flat)
            out = []
            for k, (entries, aim) in enumerate(chosen):
                own = part == k
                if aim.startswith("all"):
                    together = torch.stack([values[e][own] for e in entries])
                    out.append(((-together).clamp(min=0) if aim == "all up" else together).square().sum(dim=0))
                    continue
                value = values[entries[0]][own]
                if len(entries) == 2:
                    value = value - values[entries[1]][own]
                out.append({"up": -value, "down": value, "zero": value.abs()}[aim])
            return torch.cat(out)

        low, high = torch.as_tensor(latent.low), torch.as_tensor(latent.high)
        z = minimise(minus, torch.as_tensor(latent.pack(start)), low, high, steps=STEPS, late=late)
        return arrays(latent.unpack(z, fixed))


def together_of(tape: Tape) -> list[tuple[tuple[int, ...], str]]:
    """Inner parts that are driven together: all arguments of one kind to zero, all margins of cases up."""
    groups: dict[str, dict[int, None]] = {}
    for (entries, aim), op in _parts(tape):
        if len(entries) == 1 and aim in ("up", "zero"):
            kind = "select" if op in SELECT else "saturating" if op in _SATURATING else op
            if kind in ("select", "saturating", "abs", "square", "max", "min"):
                groups.setdefault(kind, {}).setdefault(entries[0])
    out = []
    for kind, members in groups.items():
        some = tuple(members)[:MOST_TOGETHER]
        out.append((some, "all up" if kind == "select" else "all zero"))
    return out


def parts_of(tape: Tape) -> list[tuple[tuple[int, ...], str]]:
    """``(entries, aim)``: an entry, or the difference of two, to be driven up, down or to zero."""
    return list(dict.fromkeys(part for part, _ in _parts(tape)))


def _parts(tape: Tape) -> list[tuple[tuple[tuple[int, ...], str], str]]:
    depends = [False] * len(tape.entries)
    out: list[tuple[tuple[tuple[int, ...], str], str]] = []
    for k, (op, args) in enumerate(tape.entries):
        depends[k] = op == "input" or any(depends[j] for j in operands(op, args))
        inner: tuple[int, ...] = ()
        if op in ("max", "min") and depends[k]:
            inner = tuple(args)
        elif op == "div" and depends[args[1]]:
            inner = (args[1],)
        elif (op in _SATURATING or op in _KINKED) and op not in ("div", "max", "min") and depends[args[0]]:
            inner = (args[0],)
        if not inner:
            continue
        aims = ("up", "down") if op in _SATURATING else ("zero",) if op in ("abs", "square") else ("up", "down", "zero")
        out += [((inner, aim), op) for aim in aims]
    return out
