"""Random statements whose truth is known by construction.

A planted violation: ``-(base) + (base + height) bump`` is at most 0 everywhere but near one place, where it reaches
``height``; with a negative height the statement is true. Everything else is an inequality known to be sharp, with its
constant moved.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import functions
import numpy as np
import sympy
import torch

from attnlab.analysis import (
    Distribution,
    Integer,
    Permutation,
    PositiveDefinite,
    Real,
    Simplex,
    Sphere,
    Vector,
    for_all,
)
from attnlab.analysis.theorems.statement.claim import Claim


@dataclass(frozen=True)
class Statement:
    """A claim, whether it is true, and how it is false."""

    family: str
    detail: str
    true: bool
    claim: Claim
    level: str | None
    height: float = math.nan
    width: float = math.nan
    dim: int = 0


BUMPS: dict[str, Callable[[Any], Any]] = {  # of u = (x - c) / w, each 1 at 0 and nowhere above
    "gaussian": lambda u: (-(u * u).sum()).exp(),
    "rational": lambda u: 1 / (1 + (u * u).sum()),
    "tent": lambda u: torch.relu(1 - u.abs().amax()),
    "window": lambda u: torch.where(u.abs().amax() < 0.5, 1.0, 0.0),
    "product": lambda u: (1 / u.cosh()).prod(),
    "sigmoid": lambda u: 4 * torch.sigmoid(-(u * u).sum()) * torch.sigmoid((u * u).sum()),
}


def planted(g: np.random.Generator, level: str | None, opaque: bool = False) -> Statement:
    """A bump of some height and width at a random place of [0, 1]^d; slopes reach it, or only the recorded form does."""
    name = str(g.choice(list(BUMPS)))
    dim = int(g.choice([1, 1, 2, 2, 3, 4, 6, 8])) if level == "searched" else int(g.choice([1, 1, 2]))
    width = float(10 ** g.uniform(-3, -0.5))
    height = float(10 ** g.uniform(-6, 0))
    if opaque:  # no exact form: nothing but values and slopes
        name, dim, width = "rational", min(dim, 4), max(width, 0.02)
    c, base = g.uniform(0.05, 0.95, dim), float(g.uniform(0.1, 2))
    true = bool(g.random() < 0.4)
    top = -height if true else height
    centre, bump = torch.as_tensor(c), BUMPS[name]
    slope = torch.as_tensor(g.uniform(-0.2, 0.2, dim))

    def side(x: Any) -> Any:
        tilt = ((slope * (x - centre)) ** 2).sum()
        value = -(base + tilt) + (base + top) * bump((x - centre) / width)
        return value + 0 * torch.digamma(x[0] + 2) if opaque else value

    detail = f"{name}{' without exact form' if opaque else ''}"
    family = "planted, no exact form" if opaque else "planted"
    return Statement(
        family, detail, true, for_all(x=Vector(dim, 0, 1)).bound(side, at_most=0.0), level, height, width, dim
    )


def structure(g: np.random.Generator, level: str | None) -> Statement:
    """A value at an isolated place of structure: equal coordinates, zeros, corners, whole numbers."""
    kind = str(
        g.choice(["tie", "all equal", "zero", "corner", "whole", "two variables", "branch at zero", "branch on a tie"])
    )
    n, height, true = int(g.integers(2, 5)), float(10 ** g.uniform(-6, 0)), bool(g.random() < 0.35)
    top = 1 - height if true else 1 + height
    low = int(g.integers(-2, 1))
    at = {
        "tie": lambda x: x[0] == x[1],
        "all equal": lambda x: (x == x[0]).all(),
        "zero": lambda x: (x == 0).any(),
        "corner": lambda x: (x == 2).all(),
        "whole": lambda x: x[0] == torch.floor(x[0]),
    }
    if kind in at:
        claim = for_all(x=Vector(n, low, 2)).bound(
            lambda x: torch.where(at[kind](x), top, torch.tanh(x).mean()), at_most=1
        )
    elif kind == "two variables":
        claim = for_all(x=Vector(n, low, 2), y=Vector(n, low, 2)).bound(
            lambda x, y: torch.where((x == y).all(), top, torch.tanh(x * y).mean()), at_most=1
        )
    elif kind == "branch at zero":
        claim = for_all(x=Real(low, 2)).bound(lambda x: top + 0 * x if x == 0 else torch.tanh(x), at_most=1)
    else:
        claim = for_all(x=Vector(n, low, 2)).bound(
            lambda x: top + 0 * x[0] if x[0] == x[1] else torch.tanh(x[0]), at_most=1
        )
    return Statement("structure", kind, true, claim, level, height, 0.0, n)


def edges(g: np.random.Generator, level: str | None) -> Statement:
    """Violations on a face, at a kink, and far out in an unbounded domain."""
    kind = str(g.choice(["face", "corner", "kink", "far", "far below", "half line"]))
    n, height, true = int(g.integers(1, 6)), float(10 ** g.uniform(-6, 0)), bool(g.random() < 0.35)
    top = -height if true else height
    power = int(g.choice([8, 64, 300]))
    c = torch.as_tensor(g.uniform(-0.9, 0.9, n))
    far = float(10 ** g.uniform(1, 30))
    if kind == "face":
        claim = for_all(x=Vector(n, 0, 1)).bound(lambda x: x[0] ** power * (1 + top), at_most=1)
    elif kind == "corner":
        claim = for_all(x=Vector(n, 0, 1)).bound(lambda x: x.prod() ** power * (1 + top), at_most=1)
    elif kind == "kink":
        steep = float(10 ** g.uniform(0, 4))
        claim = for_all(x=Vector(n, -1, 1)).bound(lambda x: top - steep * (x - c).abs().sum(), at_most=0)
    elif kind == "far":
        claim = for_all(x=Real()).bound(lambda x: x / (1 + x.abs()) if true else x, at_most=1 if true else far)
    elif kind == "far below":
        claim = for_all(x=Real()).bound(lambda x: x * torch.sigmoid(-x) if true else -x, at_most=1 if true else far)
    else:
        claim = for_all(x=Real(0)).bound(lambda x: (1 + x).log() - (x if true else x / far), at_most=0 if true else 1)
    return Statement("edges", kind, true, claim, level, height, 0.0, n)


def equalities(g: np.random.Generator, level: str | None) -> Statement:
    """Bounds that are attained, and the same with the constant moved."""
    n, true = int(g.integers(2, 6)), bool(g.random() < 0.5)
    height = float(10 ** g.uniform(-6, -1))
    move = 0.0 if true else height
    box = Vector(n, -2, 2)
    log_n = math.log(n)
    kinds: dict[str, Callable[[], Claim]] = {
        "square >= 0": lambda: for_all(x=box).bound(lambda x: (x - 0.3).square().sum(), at_least=move),
        "Cauchy-Schwarz": lambda: for_all(x=box, y=box).bound(
            lambda x, y: x @ y, at_most=lambda x, y: (1 - move) * x.norm() * y.norm()
        ),
        "entropy <= log n": lambda: for_all(x=box).bound(
            lambda x: -(x.softmax(-1) * x.log_softmax(-1)).sum(), at_most=log_n - move
        ),
        "sum of softmax": lambda: for_all(x=box).bound(lambda x: x.softmax(-1).sum(), at_most=1 - move),
        "identity": lambda: for_all(x=box, y=box).identity(
            lambda x, y: (x + y).square().sum() - (x - y).square().sum(),
            equals=lambda x, y: (4 + move) * (x @ y),
            within=1e-12,
        ),
        "mean <= max": lambda: for_all(x=box).bound(lambda x: x.mean(), at_most=lambda x: x.amax() - move),
        "decimal end": lambda: for_all(x=Vector(n, 0, 0.1)).bound(lambda x: x.sum(), at_most=round(n / 10 - move, 9)),
        "exp >= 1 + x": lambda: for_all(x=Real(-1, 1)).bound(lambda x: x.exp(), at_least=lambda x: 1 + x + move),
        "1 - cos": lambda: for_all(x=Real(1e-9, 1)).bound(lambda x: (1 - torch.cos(x)) / x**2, at_most=0.5 - move),
        "float32 constant": lambda: for_all(x=Real(0, 1)).bound(
            lambda x: x * torch.tensor(0.1), at_most=0.1 - move / 10
        ),
    }
    kind = str(g.choice(list(kinds)))
    return Statement("equalities", kind, true, kinds[kind](), level, height, math.nan, n)


def domains(g: np.random.Generator, level: str | None) -> Statement:
    """Sharp inequalities on whole numbers, permutations, simplices, spheres and positive definite matrices."""
    n, true = int(g.integers(2, 5)), bool(g.random() < 0.5)
    height = float(10 ** g.uniform(-4, -1))
    f = 1 + height if true else 1 - height
    needle = int(g.integers(0, 5000))
    kinds: dict[str, Callable[[], Claim]] = {
        "purity": lambda: for_all(p=Simplex(n)).bound(lambda p: (p * p).sum(), at_least=1 / (n * f)),
        "purity <= 1": lambda: for_all(p=Simplex(n)).bound(lambda p: (p * p).sum(), at_most=f),
        "linear on the sphere": lambda: for_all(u=Sphere(n)).bound(lambda u: u.sum(), at_most=f * math.sqrt(n)),
        "largest eigenvalue": lambda: for_all(A=PositiveDefinite(n, 1, 4), u=Sphere(n)).bound(
            lambda A, u: u @ A @ u, at_most=4 * f
        ),
        "eigvalsh": lambda: for_all(A=PositiveDefinite(n, 1, 4)).bound(
            lambda A: torch.linalg.eigvalsh(A).amin(), at_least=1 / f
        ),
        "determinant": lambda: for_all(A=PositiveDefinite(2, 1, 4)).bound(
            lambda A: torch.linalg.det(A), at_most=16 * f
        ),
        "rearrangement": lambda: for_all(x=Vector(n, 0, 1), pi=Permutation(n)).bound(
            lambda x, pi: x @ x[pi], at_most=lambda x: f * (x @ x) + (1e-9 if true else -1e-9)
        ),
        "needle": lambda: for_all(k=Integer(0, 5000)).bound(lambda k: torch.relu(1.0 - abs(k - needle)), at_most=f),
        "power": lambda: for_all(k=Integer(1, 12), x=Real(0, 1)).bound(lambda x, k: x**k, at_most=f),
        "remainder": lambda: for_all(k=Integer(1, 2000)).bound(lambda k: (k % 97) * 1.0, at_most=96 * f),
    }
    kind = str(g.choice(list(kinds)))
    return Statement("domains", kind, true, kinds[kind](), level, height, math.nan, n)


def assumptions(g: np.random.Generator, level: str | None) -> Statement:
    """Statements under strict, thin and joint assumptions."""
    n, true = int(g.integers(1, 5)), bool(g.random() < 0.5)
    height = float(10 ** g.uniform(-4, -0.5))
    radius = float(10 ** g.uniform(-3, -0.5))
    move = height * (1 if true else -1)
    c = torch.as_tensor(g.uniform(-0.6, 0.6, n))
    total = float(c.sum())
    kinds: dict[str, Callable[[], Claim]] = {
        "thin ball": lambda: for_all(x=Vector(n, -1, 1)).bound(
            lambda x: x.sum(),
            at_most=total + radius * math.sqrt(n) + radius * move,
            assuming=lambda x: radius**2 - ((x - c) ** 2).sum(),
        ),
        "thin slab": lambda: for_all(x=Vector(n + 1, -1, 1)).bound(
            lambda x: x.sum(), at_most=0.5 + radius + radius * move, assuming=lambda x: (x.sum() - 0.5).abs() <= radius
        ),
        "strict": lambda: for_all(y=Real(0, 1)).bound(
            lambda y: torch.where(y > 0, y, 2.0), at_most=1 + move if true else 1 - height, assuming=lambda y: y > 0
        ),
        "strict at a point": lambda: for_all(y=Real(0, 1)).bound(
            lambda y: torch.where(y == 0, 1 + height, y),
            at_most=1,
            assuming=(lambda y: y > 0) if true else (lambda y: y >= 0),
        ),
        "two": lambda: for_all(x=Vector(2, -3, 3)).bound(
            lambda x: x[0] * x[1],
            at_most=1 + move,
            assuming={"norm": lambda x: x.norm() <= 2**0.5, "sign": lambda x: x[0] >= 0},
        ),
        "unequal": lambda: for_all(x=Vector(2, 0, 1)).bound(
            lambda x: (x[0] - x[1]) / (x[0] - x[1]),
            at_most=1.0 if true else 1 - height,
            assuming=lambda x: x[0] != x[1],
        ),
    }
    kind = str(g.choice(list(kinds)))
    return Statement("assumptions", kind, true, kinds[kind](), level, height, radius, n)


def compositions(g: np.random.Generator, level: str | None) -> Statement:
    """A library function with random keyword arguments against its formula, with something added or taken away."""
    pairs = [*functions.torch_pairs(g), *functions.numpy_pairs(g), *functions.sympy_pairs(g)]
    name, left, right, low, high, n = pairs[int(g.integers(len(pairs)))]
    true, height = bool(g.random() < 0.5), float(10 ** g.uniform(-5, -1))
    move = height if true else -height
    if callable(right) and not hasattr(right, "free_symbols"):
        function, formula = left, right
        left = lambda x: function(x)  # noqa: E731
        right = lambda x: formula(x) + move  # noqa: E731
    else:
        right = right + move
    domain = Real(low, high) if n == 0 else Vector(n, low, high)
    return Statement(
        "compositions", name, true, for_all(x=domain).bound(left, at_most=right), level, height, 1.0, max(n, 1)
    )


def laws(g: np.random.Generator, level: str | None) -> Statement:
    """Laws with a support: bounds that are attained at draws that rounding moved, and the same with the constant moved."""
    n, true = int(g.integers(2, 5)), bool(g.random() < 0.5)
    height = float(10 ** g.uniform(-4, -1))
    f = 1.0 if true else 1 - height
    end = round(float(g.uniform(0.05, 0.95)), 1)
    draws: dict[str, tuple[Any, Any, Callable[[Any], Any], float]] = {
        "simplex": (lambda r, m: r.dirichlet(np.ones(n), m), Simplex(n), lambda x: x.sum(), f),
        "sphere": (lambda r, m: _directions(r, m, n), Sphere(n), lambda x: x @ x, f),
        "decimal end": (lambda r, m: np.full((m, n), end), Vector(n, 0, end), lambda x: x.sum(), round(n * end * f, 9)),
        "definite": (
            lambda r, m: PositiveDefinite(n, 0.01, end).draw(m, r),
            PositiveDefinite(n, 0.01, end),
            lambda x: x[0, 0],
            round(end * f, 9),
        ),
    }
    kind = str(g.choice(list(draws)))
    draw, support, side, bound = draws[kind]
    law = Distribution(draw, support.shape, kind, support)
    return Statement("laws", kind, true, for_all(x=law).bound(side, at_most=bound), level, height, math.nan, n)


def _directions(r: np.random.Generator, m: int, n: int) -> np.ndarray:
    z = r.standard_normal((m, n))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def moved(g: np.random.Generator, level: str | None) -> Statement:
    """Numbers of other types and positions among what is moved, truth values as sides, jumps, sympy's functions."""
    true, a = bool(g.random() < 0.5), int(g.integers(2, 7))
    height = float(10 ** g.uniform(-4, -1))
    move = height if true else -height
    box, at = Vector(3, 0, 1), int(g.integers(3))
    x, j = sympy.symbols("x j")
    jump = float(g.uniform(0.2, 0.8))
    kinds: dict[str, tuple[Any, Any, float]] = {
        "scatter": (box, lambda x: x.scatter(0, torch.tensor([at]), float(a)).sum(), 2 + a),
        "cat": (box, lambda x: torch.cat([torch.tensor([a, 1]), x]).sum(), 4 + a),
        "stack": (box, lambda x: torch.stack([x[at], torch.tensor(a)]).sum(), 1 + a),
        "truth": (box, lambda x: x[at] > jump, 1),
        "jump": (Real(0, 1), lambda x: torch.where(x > jump, 1 - x, x - 1), 1 - jump),
        "angle": (Vector(2, -1, 1), lambda x: torch.atan2(x[0], x[1] + a), math.atan(1 / (a - 1))),
        "sum": (Real(0, 1), sympy.Sum(x**j, (j, 0, a)), a + 1),
        "frac": (Real(0, a), sympy.frac(x) * 2, 2),
        "sinc": (Real(-a, a), sympy.sinc(x), 1),
    }
    kind = str(g.choice(list(kinds)))
    domain, side, bound = kinds[kind]
    return Statement(
        "moved", kind, true, for_all(x=domain).bound(side, at_most=bound + move), level, height, math.nan, 3
    )


FAMILIES: dict[str, Callable[[np.random.Generator, str | None], Statement]] = {
    "planted": planted,
    "opaque": lambda g, level: planted(g, "searched", opaque=True),
    "structure": structure,
    "edges": edges,
    "equalities": equalities,
    "domains": domains,
    "assumptions": assumptions,
    "compositions": compositions,
    "laws": laws,
    "moved": moved,
}
SHARES = {  # statements of each family in a thousand of the measured campaign; the others are judged by :func:`of_family`
    "planted": 260,
    "opaque": 60,
    "structure": 120,
    "edges": 100,
    "equalities": 100,
    "domains": 80,
    "assumptions": 80,
    "compositions": 200,
}


def one(k: int, seed: int = 0) -> Statement:
    """Statement ``k``: nine in eleven are searched, one certified and one in a hundred judged by every level."""
    names = [name for name, share in SHARES.items() for _ in range(share)]
    order = np.random.default_rng(seed).permutation(len(names))
    level = None if k % 100 == 50 else "certified" if k % 11 == 5 else "searched"
    return FAMILIES[names[order[k % len(names)]]](np.random.default_rng([seed, k]), level)


def of_family(family: str, k: int) -> Statement:
    """Statement ``k`` of one family: two in five are searched, two judged by every level and one certified."""
    level = ("searched", None, "certified", "searched", None)[k % 5]
    return FAMILIES[family](np.random.default_rng([sum(family.encode()), k]), level)
