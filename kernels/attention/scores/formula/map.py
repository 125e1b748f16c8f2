r"""A score map that a user gives by its formula: all that attention asks of a built-in one, and the code of its fast paths."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention.scores.f_over_g import FOverG

_LIMIT = 1.0  # an exponent above a row's level belongs to a hidden key: it must not overflow there


@dataclass(frozen=True)
class FormulaMap(FOverG):
    r"""W_j = f(s_j) / (plus + sum_l g(s_l)) for a formula f and a divisor; made and checked by ``score_map``.

    ``formula``: f in the logit s. ``divide``: "sum" (g = f), "absolute" (g = \|f\|), "count" (number of visible keys), "one"
    (no division), or the formula of g. ``plus``: a constant in the normaliser, at least 0. Breaks of f (of \|.\|, max, min,
    sign): at s = 0 the weight is what the formula says there, with slope 0 at a jump and at a symmetric kink; at every other
    kink the slopes are those on the left.
    """

    formula: str
    divide: str = "sum"
    plus: float = 0.0
    name: ClassVar[str] = "formula"

    def __post_init__(self):
        object.__setattr__(self, "_made", made(self.formula, self.divide))

    def __reduce__(self):
        return FormulaMap, (self.formula, self.divide, self.plus)

    @property
    def parameter(self) -> float:
        """What the generated code receives: log of ``plus`` with an exponential level, 1 to divide by the count, or ``plus``."""
        if self._made.kind == "exponential":
            return math.log(self.plus) if self.plus > 0 else -math.inf
        return 1.0 if self.divide == "count" else self.plus

    def level(self, s: Tensor, visible: Tensor) -> Tensor:
        kind = self._made.kind
        if kind == "none":
            return s.new_zeros((*s.shape[:-1], 1))
        e = torch.where(visible, self._made.exponent(s), -torch.inf)
        top = e.amax(-1, keepdim=True) if s.shape[-1] else s.new_full((*s.shape[:-1], 1), -torch.inf)
        if kind == "homogeneous":
            top = top.clamp(min=1.0) if self.plus > 0 else top
            return torch.where(top > 0, top, 1.0)
        top = top.clamp(min=self.parameter) if self.plus > 0 else top
        return torch.where(top > -torch.inf, top, 0.0)

    def log_level(self, m: Tensor) -> Tensor:
        if self._made.kind == "none":
            return torch.zeros_like(m)
        return self._made.power * m.log() if self._made.kind == "homogeneous" else m

    def constant(self, m: Tensor, n_visible: Tensor) -> Tensor:
        if self._made.kind == "exponential":
            return torch.exp(self.parameter - m)
        if self._made.kind == "homogeneous":
            return self.plus / m**self._made.power
        if self.divide == "count":
            return n_visible.expand(m.shape).clone()
        return torch.full_like(m, 1.0 if self.divide == "one" else self.plus)

    def f(self, s: Tensor, m: Tensor) -> Tensor:
        return self._made.values("f", s, m)[0]

    def g(self, s: Tensor, m: Tensor) -> Tensor:
        return self.f(s, m) if self.divide == "sum" else self._made.values("g", s, m)[0]

    def derivatives(self, s: Tensor, m: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self._made.values("slopes", s, m)


class _Made:
    """The form of a formula, and its functions on tensors."""

    def __init__(self, formula: str, divide: str):
        from attnlab.kernels.attention.scores.formula import emit, functions
        from attnlab.kernels.attention.scores.formula.derive import derive

        self.form = derive(formula, divide)
        self.kind, self.power = self.form.kind, float(self.form.power)  # plain values, which torch.compile can read
        names = {"torch": torch, "log1p_over": functions.log1p_over, "one_minus_exp": functions.one_minus_exp}
        exec(
            compile(emit.torch_source(self.form), f"<score map {formula}>", "exec"), names
        )  # our own text, not the user's
        self._functions = {name: names[name] for name in names if name.rpartition("_")[2].isdecimal()}
        self._ends = [
            tuple(float(x) for x in (p.interval.low, p.interval.high, p.interval.inside)) for p in self.form.pieces
        ]
        self._zero = {name: float(x) for name, x in self.form.at_zero.items()}

    def exponent(self, s: Tensor) -> Tensor:
        """E(s), or |s| for homogeneous maps; minus infinity where there is no summand."""
        return self._choose(s, [self._functions[f"e_{i}"](s) for i in range(len(self._ends))])

    def values(self, kind: str, s: Tensor, m: Tensor) -> tuple[Tensor, ...]:
        """f, g, or the four slopes, divided by the row's common factor; differentiable, and NaN only where a logit is."""
        names = {"f": ("f",), "g": ("g",), "slopes": ("f1", "f2", "g1", "g2")}[kind]
        columns = []
        for i, (low, high, inside) in enumerate(self._ends):
            if self.kind == "homogeneous":
                inside = m * (1 if inside > 0 else -1)
            here = torch.where((s > high) | (s <= low), inside, s)
            rest = self._functions[f"{kind}_{i}"](here, m)
            rest = rest if isinstance(rest, tuple) else (rest,)
            if self.kind == "exponential":
                rise = torch.exp((self._functions[f"e_{i}"](here) - m).clamp(max=_LIMIT))
                rest = tuple(x * rise for x in rest)
            columns.append(rest)
        scale = {"1": m, "2": m * m} if self.kind == "homogeneous" else {}
        found = []
        for j, name in enumerate(names):
            x = self._choose(s, [column[j] for column in columns])
            x = x / scale[name[1:]] if name[1:] in scale else x
            if kind != "slopes":
                x = torch.where(s != s, s, x)  # NaN is on no interval
            if f"{name[0]}1" in self._zero:
                x = torch.where(s == 0, x.detach() if name not in self._zero else self._at_zero(name, x, m), x)
            found.append(x)
        return tuple(found)

    def _at_zero(self, name: str, x: Tensor, m: Tensor) -> Tensor:
        value = torch.full_like(x, self._zero[name])
        return value * torch.exp((-m).clamp(max=_LIMIT)) if self.kind == "exponential" else value

    def _choose(self, s: Tensor, columns: list[Tensor]) -> Tensor:
        out = columns[0]
        for (low, _, _), x in zip(self._ends[1:], columns[1:], strict=True):
            out = torch.where(s > low, x, out)
        return out


@functools.lru_cache(maxsize=256)
def made(formula: str, divide: str) -> _Made:
    return _Made(formula, divide)
