"""Where a search starts: draws at many scales, and points of structure, where isolated violations sit.

Structure means: corners and faces, zeros and small whole numbers, equal coordinates, equal variables, one coordinate
apart from the rest, vertices and centres of simplices, axes of spheres, multiples of the identity, the ends of a range of
integers, simple permutations, and every constant that the recorded statement compares a variable with.
"""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from attnlab.analysis.exact.tape import NotTraceable, Tape
from attnlab.analysis.exact.values import nearest_float
from attnlab.analysis.theorems.engines.coordinates import support
from attnlab.analysis.theorems.engines.exact_form import record_claim, recorded_at
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

Points = dict[str, np.ndarray]
SIMPLE = (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 0.1, 10.0, -10.0, 0.25, 1 / 3, 1e-3, 1e-8, -1e-8)
MAX_CONSTANTS = 60
FAR_POWERS = (2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 25, 30, 40, 50, 70, 100, 150)  # of ten, tried where there is no end
FULL_CORNERS = 10  # all corners of a box up to this many coordinates


def structured(claim: Claim, n: int, generator: np.random.Generator) -> Points:
    """At most ``n`` points of structure: of every variable alone in turn, then in random combinations."""
    constants = compared_constants(claim)
    options = {}
    for name, domain in claim.variables.items():
        found = list(itertools.islice(values_of_structure(support(domain), constants, generator), max(n // 2, 16)))
        options[name] = np.stack(found) if found else domain.draw(16, generator)
    longest = max(len(v) for v in options.values())
    names = list(claim.variables)
    points: Points = {}
    for k, name in enumerate(names):
        own = options[name]
        if k == 0 or len(names) == 1:
            index = np.arange(n) % len(own)
        else:
            index = np.where(np.arange(n) < longest, np.arange(n) % len(own), generator.integers(0, len(own), n))
        points[name] = own[index]
    if len(names) > 1:
        points[names[0]] = options[names[0]][
            np.where(
                np.arange(n) < longest,
                np.arange(n) % len(options[names[0]]),
                generator.integers(0, len(options[names[0]]), n),
            )
        ]
        for a, b in itertools.pairwise(names):
            if claim.variables[a] == claim.variables[b]:
                same = generator.random(n) < 0.25
                points[b][same] = points[a][same]
    return points


def varied(domain: Domain, n: int, generator: np.random.Generator, reach: float = 1e2) -> np.ndarray:
    """Varied starting values: draws, corners, sparse, tied and multi-scale values of a box; draws of any other domain."""
    values = domain.draw(n, generator)
    base = support(domain)
    if not isinstance(base, Box):
        return values
    wide = (-1,) + (1,) * len(base.shape)
    kind = generator.integers(0, 6, size=n)
    if not base.bounded:
        scale = 10.0 ** generator.uniform(-3, math.log10(reach), n).reshape(wide)
        sign = generator.choice([-1.0, 1.0], values.shape)
        size = np.abs(generator.standard_normal(values.shape)) * scale
        far = (
            float(base.low) + size
            if math.isfinite(base.low)
            else (float(base.high) - size if math.isfinite(base.high) else sign * size)
        )
        values = np.where((kind > 1).reshape(wide), far, values)
        return _tied(np.clip(values, float(base.low), float(base.high)), kind == 5, generator)
    low, high = float(base.low), float(base.high)
    scale = 10.0 ** generator.uniform(-4, 0, n).reshape(wide)
    zero = min(max(0.0, low), high)
    centre = generator.choice([zero, low, high, (low + high) / 2], size=n).reshape(wide)
    corner = np.where(generator.random(values.shape) < 0.5, low, high)
    mixed = np.where(generator.random(values.shape) < 0.5, corner, values)
    sparse = np.where(generator.random(values.shape) < 0.3, values, zero)
    shrunk = centre + (values - centre) * scale
    values = np.select([(kind == k).reshape(wide) for k in (1, 2, 3)], [mixed, sparse, shrunk], values)
    return _tied(np.clip(values, low, high), kind >= 5, generator)


def _tied(values: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Some rows with equal entries: two, or all."""
    flat = values.reshape(len(values), -1)
    if flat.shape[1] < 2:
        return values
    for k in np.flatnonzero(rows):
        if generator.random() < 0.5:
            flat[k] = flat[k, 0]
        else:
            i, j = generator.choice(flat.shape[1], 2, replace=False)
            flat[k, i] = flat[k, j]
    return flat.reshape(values.shape)


def values_of_structure(
    domain: Domain, constants: Sequence[float], generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Values of one variable, the simplest first."""
    shape, n = domain.shape, math.prod(domain.shape)
    if isinstance(domain, Box):
        yield from _of_box(domain, constants, generator)
    elif isinstance(domain, Sphere):
        for size in range(1, min(n, 4) + 1):
            for signs in itertools.product((1.0, -1.0), repeat=size):
                for start in range(min(n, 8)):
                    v = np.zeros(n)
                    v[(start + np.arange(size)) % n] = signs
                    yield float(domain.radius) * v / np.linalg.norm(v)
        yield np.full(shape, float(domain.radius) / math.sqrt(n))
        yield np.full(shape, -float(domain.radius) / math.sqrt(n))
    elif isinstance(domain, Simplex):
        yield from np.eye(n)
        yield np.full(shape, 1 / n)
        for size in range(2, n):
            for start in range(n):
                v = np.zeros(n)
                v[(start + np.arange(size)) % n] = 1 / size
                yield v
        for c in constants:
            if 0 < c < 1 and n > 1:
                yield np.array([c, *[(1 - c) / (n - 1)] * (n - 1)])
    elif isinstance(domain, PositiveDefinite):
        low, high = float(domain.low), float(domain.high)
        for x in (low, high, (low + high) / 2, min(max(1.0, low), high)):
            yield np.eye(domain.n) * x
        for k in range(domain.n):
            yield np.diag([high if i == k else low for i in range(domain.n)])
            yield np.diag([low if i == k else high for i in range(domain.n)])
    elif isinstance(domain, Integer):
        near = {domain.low, domain.high, domain.low + 1, domain.high - 1, 0, 1, -1, 2, 3, 4, 5, 7, 8, 10, 16, 100}
        near |= {2**k for k in range(1, 40)} | {2**k - 1 for k in range(2, 40)} | {10**k for k in range(1, 12)}
        near |= {(domain.low + domain.high) // 2, *(int(c) for c in constants if float(c).is_integer())}
        yield from (np.asarray(k) for k in sorted(near, key=abs) if domain.low <= k <= domain.high)
    elif isinstance(domain, Permutation):
        yield np.arange(n)
        yield np.arange(n)[::-1].copy()
        for shift in range(1, n):
            yield np.roll(np.arange(n), shift)
        for i, j in itertools.combinations(range(min(n, 8)), 2):
            swapped = np.arange(n)
            swapped[[i, j]] = j, i
            yield swapped


def _of_box(domain: Box, constants: Sequence[float], generator: np.random.Generator) -> Iterator[np.ndarray]:
    shape, n = domain.shape, math.prod(domain.shape)
    low, high = float(domain.low), float(domain.high)
    ends = [e for e in (low, high) if math.isfinite(e)]
    middle = [(low + high) / 2] if len(ends) == 2 else []
    whole = (
        [float(k) for k in range(math.ceil(low), math.floor(high) + 1)] if len(ends) == 2 and high - low <= 20 else []
    )
    far = [s * 10.0**k for k in FAR_POWERS for s in (1, -1)] if len(ends) < 2 else []
    levels = [x for x in dict.fromkeys([*ends, *SIMPLE, *middle, *constants, *whole, *far]) if low <= x <= high]
    yield from (np.full(shape, x) for x in levels)
    if n == 1:
        for x in levels:
            for step in (1e-12, 1e-9, 1e-6, 1e-3):
                for y in (x - step, x + step):
                    if low <= y <= high:
                        yield np.full(shape, y)
        return
    if len(ends) == 2 and n <= FULL_CORNERS:
        for signs in itertools.product(ends, repeat=n):
            yield np.array(signs).reshape(shape)
    base = levels[:24]
    for k in range(min(n, 12)):
        for own, rest in itertools.product(base[:8], base[:8]):
            if own != rest:
                v = np.full(n, rest)
                v[k] = own
                yield v.reshape(shape)
    if len(shape) == 2 and shape[0] == shape[1]:
        for own, rest in itertools.product(base[:6], base[:6]):
            yield np.where(np.eye(shape[0], dtype=bool), own, rest)
    while True:
        v = generator.choice(levels, n)
        if generator.random() < 0.3:
            i, j = generator.choice(n, 2, replace=False)
            v[i] = v[j]
        yield v.reshape(shape)


def compared_constants(claim: Claim) -> list[float]:
    """Numbers that the recorded statement adds to a variable, or divides by its factor, with both signs; those that stand
    in the code of its sides."""
    written = dict.fromkeys(x for side in claim.parts().values() for x in written_numbers(side))
    tape = _some_tape(claim)
    if tape is None:
        return list(written)[:MAX_CONSTANTS]
    out: dict[float, None] = {}
    values = {k: args[0] for k, (op, args) in enumerate(tape.entries) if op in ("constant", "rounded")}
    scaled: dict[int, float] = {}
    for k, (op, args) in enumerate(tape.entries):
        if op == "input":
            scaled[k] = 1.0
        elif op == "neg" and args[0] in scaled:
            scaled[k] = -scaled[args[0]]
        elif op == "mul" and len(args) == 2:
            for a, b in (args, args[::-1]):
                if a in scaled and b in values and values[b]:
                    scaled[k] = scaled[a] * nearest_float(values[b])
        elif op in ("add", "max", "min") and len(args) == 2:
            for a, b in (args, args[::-1]):
                if a in scaled and b in values:
                    sign = -1 if op == "add" else 1
                    out.setdefault(sign * nearest_float(values[b]) / scaled[a])
    for value in values.values():
        out.setdefault(nearest_float(value))
        out.setdefault(-nearest_float(value))
    return [x for x in (out | written) if math.isfinite(x)][:MAX_CONSTANTS]


def _some_tape(claim: Claim) -> Tape | None:
    """The recorded statement, or, where it branches, what it does at a draw."""
    generator = np.random.default_rng(0)
    point = {n: np.asarray(d.draw(1, generator)[0]) for n, d in claim.variables.items()}
    whole = {n: v for n, v in point.items() if claim.variables[n].whole}
    try:
        return recorded_at(claim, whole).tape
    except NotTraceable:
        pass
    try:
        return record_claim(claim, whole, point=point).tape
    except NotTraceable:
        return None


def written_numbers(side: Any) -> list[float]:
    """Numbers that stand in the code of a function, in its defaults and in the variables that it closes over."""
    code = getattr(side, "__code__", None)
    if code is None:
        return []
    cells = getattr(side, "__closure__", None) or ()
    stack: list[Any] = [*code.co_consts, *(getattr(side, "__defaults__", None) or ())]
    stack += [cell.cell_contents for cell in cells if _filled(cell)]
    out: list[float] = []
    while stack and len(out) < MAX_CONSTANTS:
        x = stack.pop(0)
        if isinstance(x, types.CodeType):
            stack += x.co_consts
        elif isinstance(x, (tuple, list)) and len(x) <= MAX_CONSTANTS:
            stack += x
        elif isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < 1e300:
            out += [float(x), -float(x)]
    return out


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # not yet given a value
        return False


def all_values(claim: Claim, limit: int) -> Points | None:
    """Every point of a claim about whole numbers and permutations only, if there are at most ``limit``."""
    if not all(domain.whole for domain in claim.variables.values()):
        return None
    counts = [_count(domain) for domain in claim.variables.values()]
    if math.prod(counts) > limit:
        return None
    if len(claim.variables) == 1:
        ((name, domain),) = claim.variables.items()
        if isinstance(domain, Integer):
            return {name: np.arange(domain.low, domain.high + 1)}
    columns = [list(_every(domain)) for domain in claim.variables.values()]
    rows = list(itertools.product(*columns))
    return {name: np.array([row[k] for row in rows]) for k, name in enumerate(claim.variables)}


def _count(domain: Domain) -> int:
    if isinstance(domain, Permutation):
        return math.factorial(domain.n) if domain.n < 12 else 10**18
    return domain.high - domain.low + 1 if isinstance(domain, Integer) else 10**18


def _every(domain: Domain) -> Iterator[np.ndarray]:
    if isinstance(domain, Permutation):
        return (np.array(p) for p in itertools.permutations(range(domain.n)))
    assert isinstance(domain, Integer)  # the callers ask for whole domains only
    return (np.asarray(k) for k in range(domain.low, domain.high + 1))


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> Points:
    """Several batches of points as one."""
    return {name: np.concatenate([np.asarray(p[name]) for p in parts]) for name in parts[0]}
