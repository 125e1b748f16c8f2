"""The level ``certified``: branch and bound in ball arithmetic proves a bound on a whole box, or says where it is
stuck.

The excess g = lower - upper is enclosed on a box by its natural extension and by the mean-value form g(c) + sum_i d_i
g(box) (x_i - c_i). A box where the enclosure is <= 0 is done. Without assumptions, a box where some d_i g has one
sign holds no maximum but at the domain's own face, so it is dropped or reduced to that face. All comparisons are made
in ball arithmetic and count only if certain; constants and box ends are exact rationals. So a proof is a proof;
UNDECIDED is the normal answer where the two sides meet, and comes with advice how to restate the claim.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
from flint import arb, ctx, fmpq

from attnlab.analysis.exact.ends import end_values
from attnlab.analysis.exact.tape import NotTraceable, Number
from attnlab.analysis.exact.values import ball_gradient, ball_values
from attnlab.analysis.theorems.engines.cover import Cover, Key, cases, point_of
from attnlab.analysis.theorems.engines.exact_form import RecordedClaim
from attnlab.analysis.theorems.statement.claim import Claim

BITS = 64
BUDGET = 100_000
OPERATIONS = 60  # scalar operations in balls per evaluation of the budget
SECONDS_PER_OPERATION = 1.5e-6
LEAST_SECONDS = 20.0
MEETING = 2.0**-20  # an excess this small, relative to the sides, may be the rounding of a ball's radius
MAX_BOXES = 400_000
MEETING_BOXES = 8_000  # enough to try, once the two sides are seen to meet
STUCK = 2.0**-20  # a box this narrow (relative to the domain) that is still open: the sides meet there


class Node:
    """A box of the proof: how it was closed, and the boxes it was divided into."""

    __slots__ = ("parts", "rule")

    def __init__(self) -> None:
        self.rule = ""
        self.parts: tuple[Node, ...] = ()

    def rules(self) -> Iterator[str]:
        """The rules of this box and of its parts, parents first."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node.rule
            stack.extend(reversed(node.parts))


@dataclass
class Certificate:
    """What branch and bound found. ``status`` is ``"proved"``, ``"refuted"`` (at ``point``) or ``"undecided"``."""

    status: str = "proved"
    boxes: int = 0
    dimension: int = 0
    excess: float = -math.inf  # largest lower - upper seen at a box centre
    lower: float = math.nan  # the two sides there
    upper: float = math.nan
    point: dict[str, np.ndarray] | None = None
    advice: str = ""
    operations: int = 0  # scalar operations left
    trees: list[tuple[RecordedClaim, Cover, dict[str, np.ndarray], list[Node]]] | None = None  # if a file is wanted


def certify(claim: Claim, budget: int = BUDGET, negated: bool = False, with_trees: bool = False) -> Certificate:
    """Prove ``lower <= upper`` on the whole domain (``negated``: ``lower > upper`` everywhere).

    ``budget`` counts evaluations as a search does; it buys ``OPERATIONS`` scalar operations in balls each. Processor time
    is capped at ten times what these should take. ``with_trees`` keeps how every box was closed.
    """
    total = Certificate(operations=budget * OPERATIONS, trees=[] if with_trees else None)
    deadline = time.thread_time() + max(LEAST_SECONDS, 10 * SECONDS_PER_OPERATION * total.operations)
    try:
        with ctx.workprec(BITS):
            for recorded, cover, whole in cases(claim):
                recorded = _some_entry(recorded) if negated else recorded
                roots: list[Node] = []
                for entry in range(len(recorded.lower)):
                    roots.append(_Search(claim, recorded, cover, whole, negated).run(entry, total, deadline))
                    if total.status != "proved":
                        return total
                if total.trees is not None:
                    total.trees.append((recorded, cover, whole, roots))
    except NotTraceable as reason:
        total.status, total.advice = "undecided", f"no exact form: {reason}"
    return total


def _some_entry(recorded: RecordedClaim) -> RecordedClaim:
    """The claim whose negation says that at every point some entry fails: the largest excess of all entries against 0."""
    if len(recorded.lower) == 1:
        return recorded
    tape = recorded.tape
    pairs = zip(recorded.lower, recorded.upper, strict=True)
    excess = [Number(tape, low) - Number(tape, up) for low, up in pairs]
    worst = reduce(lambda a, b: tape.apply("max", a, b), excess)
    return replace(recorded, lower=[worst.index], upper=[tape.constant(0).index])


@dataclass(order=True)
class _Open:
    """An open box, the one with the largest upper bound first."""

    priority: float
    order: int
    box: list[tuple[fmpq, fmpq]] = field(compare=False)
    split: int = field(compare=False)
    node: Node = field(compare=False)


class _Search:
    """Branch and bound for one entry of one case."""

    def __init__(
        self, claim: Claim, recorded: RecordedClaim, cover: Cover, whole: dict[str, np.ndarray], negated: bool
    ) -> None:
        self.claim, self.recorded, self.tape, self.whole, self.negated = claim, recorded, recorded.tape, whole, negated
        self.keys: list[Key] = list(cover.ends)
        self.root = [(_rational(low), _rational(high)) for low, high in cover.ends.values()]

    def run(self, entry: int, total: Certificate, deadline: float) -> Node:
        """Bound one entry and add the result to ``total``; the tree of its boxes."""
        low, up = (Number(self.tape, self.recorded.lower[entry]), Number(self.tape, self.recorded.upper[entry]))
        self.sides, self.gap = (low.index, up.index), ((up - low) if self.negated else (low - up)).index
        self.total = total
        total.dimension = max(total.dimension, len(self.keys))
        counter = itertools.count()
        heap: list[Any] = []
        root = Node()
        self._push(heap, counter, self.root, root)
        while heap and total.status == "proved":
            limit = MEETING_BOXES if self._meets() else MAX_BOXES
            if total.operations < 0 or total.boxes > limit or time.thread_time() > deadline:
                total.status, total.advice = "undecided", self._out_of_budget(heap)
                return root
            node = heapq.heappop(heap)
            if not self._wide(node.box):
                total.status, total.advice = "undecided", self._stuck(node.box)
                return root
            i = node.split
            lo, hi = node.box[i]
            middle = (lo + hi) / 2
            node.node.rule, node.node.parts = f"s{i}", (Node(), Node())
            for half, part in zip(((lo, middle), (middle, hi)), node.node.parts, strict=True):
                self._push(heap, counter, [*node.box[:i], half, *node.box[i + 1 :]], part)
                if total.status != "proved":
                    return root
        return root

    def _push(self, heap: list[_Open], counter: itertools.count, box: list[tuple[fmpq, fmpq]], node: Node) -> None:
        """Bound a box; put it on the heap unless it is done, infeasible or monotone."""
        while True:
            self.total.boxes += 1
            self.total.operations -= 3 * len(self.tape.entries)
            bound, split, reduced, rules = self._bound(box)
            for rule in rules[:-1] if reduced is None else rules:
                part = Node()
                node.rule, node.parts = rule, (part,)
                node = part
            if reduced is None:
                node.rule = rules[-1] if rules else ""
                break
            box = reduced
        if bound is not None:
            priority = -bound if math.isfinite(bound) else -math.inf
            heapq.heappush(heap, _Open(priority, next(counter), box, split, node))

    def _bound(
        self, box: list[tuple[fmpq, fmpq]]
    ) -> tuple[float | None, int, list[tuple[fmpq, fmpq]] | None, list[str]]:
        """``(upper bound or None if done, coordinate to split, smaller box to look at instead, rules applied)``."""
        sides = [arb(lo) if lo == hi else arb(lo).union(arb(hi)) for lo, hi in box]
        values = ball_values(self.tape, dict(zip(self.keys, sides, strict=True)))
        natural = values[self.gap]
        if self._certain(natural):
            return None, 0, None, ["n"]
        if self._infeasible(values):
            return None, 0, None, ["x"]
        if self._attained(box, values):
            return None, 0, None, ["n"]
        middles = [arb((lo + hi) / 2) for lo, hi in box]
        at_middle = ball_values(self.tape, dict(zip(self.keys, middles, strict=True)))
        if self._seen(box, at_middle):
            return None, 0, None, []
        gradient = ball_gradient(self.tape, values, self.gap)
        slopes = [gradient.get(key, arb(0)) for key in self.keys]
        radii = [arb((hi - lo) / 2) for lo, hi in box]
        mean_value = at_middle[self.gap]
        for slope, radius in zip(slopes, radii, strict=True):
            if not radius == 0:
                mean_value = mean_value + slope * radius * arb(0, 1)
        if self._certain(mean_value):
            return None, 0, None, ["n"]
        if not self.recorded.margins:
            reduced, rules = self._monotone(box, slopes)
            if rules:
                return None, 0, reduced, rules
        bounds = [float(b.upper()) for b in (natural, mean_value) if b.is_finite()]
        return (min(bounds) if bounds else math.inf), self._to_split(box, slopes, radii), None, []

    def _monotone(
        self, box: list[tuple[fmpq, fmpq]], slopes: list[arb]
    ) -> tuple[list[tuple[fmpq, fmpq]] | None, list[str]]:
        """The face that holds the maximum and the rules that say so; None if it lies inside the domain (a neighbour has
        it), or if no coordinate is monotone."""
        out, rules = list(box), []
        for i, ((lo, hi), slope) in enumerate(zip(box, slopes, strict=True)):
            if lo == hi or not (slope > 0 or slope < 0):
                continue
            end, outer = (hi, self.root[i][1]) if slope > 0 else (lo, self.root[i][0])
            sign = "+" if slope > 0 else "-"
            if end != outer:
                return None, [f"d{i}{sign}"]
            out[i] = end, end
            rules.append(f"f{i}{sign}")
        return (out if rules else None), rules

    def _infeasible(self, values: list[arb]) -> bool:
        """Whether no point of a box meets the assumptions."""
        return any((values[k] <= 0) if strict else (values[k] < 0) for k, strict in self.recorded.margins)

    def _certain(self, ball: arb) -> bool:
        return bool(ball < 0 if self.negated else ball <= 0)

    def _attained(self, box: list[tuple[fmpq, fmpq]], values: list[arb]) -> bool:
        """Whether the sides may just meet, and the two ends of an interval show what a rounded radius cannot."""
        natural = values[self.gap]
        if self.negated or not natural.is_finite():
            return False
        reach = natural.upper()
        if not reach < (1 + abs(values[self.sides[0]]).upper()) * MEETING:
            return False
        low_side, up_side = self.sides
        ends = end_values(
            self.tape, values, {k: (arb(a).lower(), arb(b).upper()) for k, (a, b) in zip(self.keys, box, strict=True)}
        )
        return bool(ends[self.gap][1] <= 0 or ends[low_side][1] <= ends[up_side][0])

    def _seen(self, box: list[tuple[fmpq, fmpq]], at_middle: list[arb]) -> bool:
        """Record the excess at a centre; True if the claim certainly fails there."""
        gap = at_middle[self.gap]
        if not gap.is_finite() or not all(
            (at_middle[k] > 0) if strict else (at_middle[k] >= 0) for k, strict in self.recorded.margins
        ):
            return False
        value = float(gap.mid())
        if value > self.total.excess:
            self.total.excess = value
            self.total.lower, self.total.upper = (float(at_middle[k].mid()) for k in self.sides)
            self.total.point = self._point(box)
        if gap > 0:
            self.total.status, self.total.point = "refuted", self._point(box)
            return True
        return False

    def _point(self, box: list[tuple[fmpq, fmpq]]) -> dict[str, np.ndarray]:
        middle = {key: _float((lo + hi) / 2) for key, (lo, hi) in zip(self.keys, box, strict=True)}
        return point_of(self.claim, middle, self.whole)

    def _wide(self, box: list[tuple[fmpq, fmpq]]) -> bool:
        return any(hi - lo > _STUCK * (b - a) for (lo, hi), (a, b) in zip(box, self.root, strict=True) if b > a)

    def _to_split(self, box: list[tuple[fmpq, fmpq]], slopes: list[arb], radii: list[arb]) -> int:
        """The coordinate along which the excess may vary most; where slopes are unbounded, the relatively widest."""
        free = [i for i, (lo, hi) in enumerate(box) if lo != hi]
        if not free:
            return 0
        if all(slopes[i].is_finite() for i in free):
            return max(free, key=lambda i: float((abs(slopes[i]) * radii[i]).upper()))
        return max(free, key=lambda i: _float((box[i][1] - box[i][0]) / (self.root[i][1] - self.root[i][0])))

    def _meets(self) -> bool:
        """Whether the two sides were seen equal up to the rounding of the balls."""
        return self.total.excess >= -1e-15 * max(abs(self.total.lower), abs(self.total.upper), 1e-300)

    def _stuck(self, box: list[tuple[fmpq, fmpq]]) -> str:
        middles = {key: arb((lo + hi) / 2) for key, (lo, hi) in zip(self.keys, box, strict=True)}
        values = ball_values(self.tape, middles)
        return self._advice(self._point(box), *(float(abs(values[k]).upper()) for k in self.sides))

    def _advice(self, point: dict[str, np.ndarray], lower: float, upper: float) -> str:
        at = ", ".join(f"{k}={np.array2string(np.asarray(v), precision=4, threshold=6)}" for k, v in point.items())
        if max(lower, upper) <= 1e-6 * self._size():
            return (
                f"both sides vanish at {at}; divide both by their common factor, or state the bound for the derivative "
                "(a Lipschitz constant as a bound on the Jacobian over unit vectors)"
            )
        return (
            f"the two sides meet at {at}, where boxes cannot tell <= from >; prove it with level='symbolic', or "
            "give the right side a slack such as 1e-3"
        )

    def _size(self) -> float:
        """How large the right side gets at two points inside the domain."""
        n = len(self.root) + 1
        inner = [
            [arb((lo * k + hi * (n - k)) / n) for k, (lo, hi) in enumerate(self.root, 1)],
            [arb((hi * k + lo * (n - k)) / n) for k, (lo, hi) in enumerate(self.root, 1)],
        ]
        values = [ball_values(self.tape, dict(zip(self.keys, c, strict=True)))[k] for c in inner for k in self.sides]
        return max((float(abs(v).upper()) for v in values if v.is_finite()), default=0.0)

    def _out_of_budget(self, heap: list[_Open]) -> str:
        if self._meets() and self.total.point is not None:
            return self._advice(self.total.point, abs(self.total.lower), abs(self.total.upper))
        worst = -heap[0].priority
        left = f"{len(heap)} boxes open after {self.total.boxes}, largest bound on the excess {worst:.3g}"
        if len(self.keys) > 6:
            wide = f"in dimension {len(self.keys)} boxes multiply"
            return f"{left}; {wide}: use symmetry or scale invariance to drop coordinates"
        return f"{left}; raise the budget, narrow the box, or rewrite the sides so that variables occur once"


def _rational(value: object) -> fmpq:
    return fmpq(value.numerator, value.denominator)  # type: ignore[attr-defined]


def _float(value: fmpq) -> float:
    return int(value.p) / int(value.q)


_STUCK = fmpq(1, int(1 / STUCK))
