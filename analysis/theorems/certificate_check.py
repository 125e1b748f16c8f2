"""Check a certificate: a program of its own, which shares no code with the one that wrote it.

Run: ``python -m attnlab.analysis.theorems.certificate_check FILE``. Per case (value of the whole-number variables) the file
holds the formula as scalar operations, the ends of its coordinates as fractions, and for every claimed ``lower <= upper``
a tree over the box: halve coordinate 3 (``s3``); done by values or by the mean-value form (``n``), or because no point meets
the assumptions (``x``); the excess is monotone along coordinate 3, so its maximum is elsewhere (``d3+``, ``d3-``) or on the
face where the domain ends (``f3+``). Arithmetic is on intervals with two ends, rounded outwards by flint at 128 bits; the
writer's is on midpoint-radius balls at 64 bits.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction

from flint import arb, ctx, fmpq

EXTRA = 5  # halvings of a leaf that this arithmetic cannot close at once
Interval = tuple[arb, arb]
WHOLE: Interval = (arb("-inf"), arb("inf"))
NOWHERE: Interval = (arb("nan"), arb("nan"))  # undefined somewhere on the box: no comparison with it is true
# fmt: off

def hull(*values: arb) -> Interval:
    return NOWHERE if any(v.is_nan() for v in values) else (min(v.lower() for v in values), max(v.upper() for v in values))

def add(a: Interval, b: Interval) -> Interval:
    return hull(a[0] + b[0], a[1] + b[1])

def mul(a: Interval, b: Interval) -> Interval:
    return hull(*(x * y for x in a for y in b))

def inverse(a: Interval) -> Interval:
    return hull(1 / a[0], 1 / a[1]) if a[0] > 0 or a[1] < 0 else NOWHERE

def square(a: Interval) -> Interval:
    return hull(a[0] * a[0], a[1] * a[1], *([arb(0)] if a[0] <= 0 <= a[1] else []))

def monotone(function):
    return lambda a: hull(function(a[0]), function(a[1]))

def circular(function):
    return lambda a: tuple(max(min(x, arb(1)), arb(-1)) for x in on_ball(function)(a))

def on_ball(function):
    return lambda a: hull(function(a[0].union(a[1])))

def absolute(a: Interval) -> Interval:
    return hull(abs(a[0]), abs(a[1]), *([arb(0)] if a[0] <= 0 <= a[1] else []))

def power(a: Interval, b: Interval) -> Interval:
    if a[0] > 0:
        return OPS["exp"](mul(b, OPS["log"](a)))
    if a[0] == 0 and b[0] > 0 and a[1] > 0:
        return arb(0), OPS["exp"](mul(b, OPS["log"]((a[1], a[1]))))[1] if a[1] > 1 else arb(1)
    return (arb(0), arb(0)) if a == (0, 0) and b[0] > 0 else NOWHERE

def chosen(m: Interval, a: Interval, b: Interval, strict: bool) -> Interval:
    if m[0] > 0 if strict else m[0] >= 0:
        return a
    return b if (m[1] <= 0 if strict else m[1] < 0) else hull(*a, *b) if m[0] <= m[1] else NOWHERE

OPS = {
    "neg": lambda a: (-a[1], -a[0]), "add": add, "mul": mul, "div": lambda a, b: mul(a, inverse(b)),
    **{n: monotone(getattr(arb, n)) for n in "exp expm1 log log1p sqrt tanh atan asinh erf erfc asin acos acosh atanh".split()},
    **{n: on_ball(getattr(arb, n)) for n in ("tan", "lgamma")}, "sigmoid": monotone(lambda x: 1 / (1 + (-x).exp())),
    "sin": circular(arb.sin), "cos": circular(arb.cos), "abs": absolute, "square": square,
    "floor": lambda a: (a[0].floor().lower(), a[1].floor().upper()),
    "max": lambda a, b: (hull(a[0].max(b[0]))[0], hull(a[1].max(b[1]))[1]),
    "min": lambda a, b: (hull(a[0].min(b[0]))[0], hull(a[1].min(b[1]))[1]), "power": power,
    "select_ge": lambda m, a, b: chosen(m, a, b, False), "select_gt": lambda m, a, b: chosen(m, a, b, True),
}
ONE, ZERO, STEP = (arb(1), arb(1)), (arb(0), arb(0)), (arb(-1), arb(1))

def slopes(op: str, v: Interval, a: list[Interval]) -> list[Interval]:
    x = a[0]
    if op in ("add", "mul", "div", "neg"):
        return {"add": lambda: [ONE, ONE], "mul": lambda: [a[1], x], "neg": lambda: [(arb(-1), arb(-1))],
                "div": lambda: [inverse(a[1]), OPS["neg"](mul(v, inverse(a[1])))]}[op]()
    if op in ("max", "min"):
        first = x[0] > a[1][1] if op == "max" else x[1] < a[1][0]
        second = x[1] < a[1][0] if op == "max" else x[0] > a[1][1]
        return [ONE, ZERO] if first else [ZERO, ONE] if second else [(arb(0), arb(1))] * 2
    if op == "abs":
        return [ONE if x[0] > 0 else (arb(-1), arb(-1)) if x[1] < 0 else STEP]
    if op.startswith("select"):
        strict = op.endswith("gt")
        if x[0] > 0 if strict else x[0] >= 0:
            return [ZERO, ONE, ZERO]
        return [ZERO, ZERO, ONE] if (x[1] <= 0 if strict else x[1] < 0) else [WHOLE] * 3
    rules = {
        "exp": lambda: v, "expm1": lambda: OPS["exp"](x), "log": lambda: inverse(x), "square": lambda: mul((arb(2), arb(2)), x),
        "sqrt": lambda: inverse(mul((arb(2), arb(2)), v)), "tanh": lambda: add(ONE, OPS["neg"](square(v))),
        "sigmoid": lambda: mul(v, add(ONE, OPS["neg"](v))), "sin": lambda: OPS["cos"](x),
        "cos": lambda: OPS["neg"](OPS["sin"](x)), "atan": lambda: inverse(add(ONE, square(x))),
        "log1p": lambda: inverse(add(ONE, x)), "asinh": lambda: inverse(OPS["sqrt"](add(ONE, square(x)))),
    }
    return [rules[op]()] if op in rules else [WHOLE] * len(a)

class Case:
    def __init__(self, data: dict) -> None:
        self.entries, self.margins = data["entries"], data["margins"]
        self.keys = [(name, k) for name, k, _, _ in data["ends"]]
        self.root = [(fraction(low), fraction(high)) for _, _, low, high in data["ends"]]

    def values(self, box: list[tuple[fmpq, fmpq]]) -> list[Interval]:
        inputs = {key: hull(arb(low), arb(high)) for key, (low, high) in zip(self.keys, box, strict=True)}
        out: list[Interval] = []
        for op, *args in self.entries:
            if op == "input":
                out.append(inputs[args[0], args[1]])
            elif op in ("constant", "rounded"):
                centre, radius = fraction(args[0]), fraction(args[1]) if op == "rounded" else fmpq(0)
                out.append(hull(arb(centre - radius), arb(centre + radius)))
            else:
                out.append(hull(arb.pi()) if op == "pi" else OPS[op](*(out[k] for k in args)))
        return out

    def gradient(self, values: list[Interval], plus: int, minus: int) -> list[Interval]:
        adjoint: dict[int, Interval] = {plus: ONE}
        adjoint[minus] = add(adjoint.get(minus, ZERO), (arb(-1), arb(-1)))
        found: dict[tuple[str, int], Interval] = {}
        for k in range(len(self.entries) - 1, -1, -1):
            if k not in adjoint:
                continue
            op, *args = self.entries[k]
            if op == "input":
                found[args[0], args[1]] = adjoint[k]
            elif op not in ("constant", "rounded", "pi"):
                for j, slope in zip(args, slopes(op, values[k], [values[j] for j in args]), strict=True):
                    adjoint[j] = add(adjoint.get(j, ZERO), mul(adjoint[k], slope))
        return [found.get(key, ZERO) for key in self.keys]

    def closed(self, box: list[tuple[fmpq, fmpq]], lower: int, upper: int, extra: int = EXTRA) -> bool:
        values = self.values(box)
        if any((values[k][1] <= 0 if strict else values[k][1] < 0) for k, strict in self.margins):
            return True
        if values[lower][1] <= values[upper][0]:
            return True
        middle = self.values([((a + b) / 2, (a + b) / 2) for a, b in box])
        total = add(middle[lower], OPS["neg"](middle[upper]))
        for slope, (a, b) in zip(self.gradient(values, lower, upper), box, strict=True):
            total = add(total, mul(mul(slope, hull(arb((b - a) / 2))), STEP)) if a != b else total
        if total[1] <= 0:
            return True
        wide = max(range(len(box)), key=lambda i: box[i][1] - box[i][0]) if box else 0
        if not extra or not box or box[wide][0] == box[wide][1]:
            return False
        return all(self.closed(half, lower, upper, extra - 1) for half in halves(box, wide))

    def verify(self, lower: int, upper: int, tree: Iterator[str]) -> int:
        stack, leaves = [self.root], 0
        while stack:
            box, token = stack.pop(), next(tree)
            rule, place = token[0], token[1:]
            if rule == "s":
                stack.extend(reversed(halves(box, int(place))))
            elif rule in "df":
                i, up = int(place[:-1]), place[-1] == "+"
                slope = self.gradient(self.values(box), lower, upper)[i]
                outer = box[i][1] == self.root[i][1] if up else box[i][0] == self.root[i][0]
                if self.margins or not (slope[0] > 0 if up else slope[1] < 0) or (rule == "f") != outer:
                    raise ValueError(f"rule {token} does not hold on {box}")
                if rule == "f":
                    end = box[i][1] if up else box[i][0]
                    stack.append([*box[:i], (end, end), *box[i + 1 :]])
            elif not self.closed(box, lower, upper):
                raise ValueError(f"the inequality is not shown on the box {box}")
            leaves += rule not in "sf"
        return leaves

def halves(box: list, i: int) -> list[list]:
    low, high = box[i]
    return [[*box[:i], part, *box[i + 1 :]] for part in ((low, (low + high) / 2), ((low + high) / 2, high))]

def fraction(text: str) -> fmpq:
    return fmpq(*Fraction(text).as_integer_ratio())

def check_file(file: str) -> str:
    with open(file, encoding="utf-8") as stream:
        data = json.load(stream)
    leaves = 0
    with ctx.workprec(128):
        for case in data["cases"]:
            one = Case(case)
            for lower, upper, tree in case["bounds"]:
                tokens = iter(tree.split())
                leaves += one.verify(lower, upper, tokens)
                if next(tokens, None) is not None:
                    raise ValueError("the tree goes on after the box is covered")
    return f"checked: {data['statement']}; {len(data['cases'])} cases, {leaves} leaves"

if __name__ == "__main__":
    try:
        print(check_file(sys.argv[1]))
    except (ValueError, KeyError, StopIteration) as failure:
        what = "no interval form here of " * isinstance(failure, KeyError)
        raise SystemExit(f"NOT a proof: {what}{failure}") from failure
