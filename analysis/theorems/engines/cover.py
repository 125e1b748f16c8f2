"""Finite boxes that cover a domain exactly, for branch and bound: angles for spheres, broken sticks for simplices.

A cover may be larger than needed (an angle up to 22/7 instead of pi): what holds on all of it holds on the domain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from attnlab.analysis.exact.reading import highest, lowest
from attnlab.analysis.exact.tape import NotTraceable, Number, Tape
from attnlab.analysis.theorems.engines.exact_form import RecordedClaim, entry_inputs, record_claim
from attnlab.analysis.theorems.statement.claim import Claim
from attnlab.analysis.theorems.statement.domains import (
    Box,
    Distribution,
    Domain,
    Integer,
    Permutation,
    PositiveDefinite,
    Simplex,
    Sphere,
)

HALF_TURN = Fraction(22, 7)  # above pi
MAX_CASES = 2000

Key = tuple[str, int]


@dataclass
class Cover:
    """Ends of every coordinate, collected while the variables are put on a tape."""

    ends: dict[Key, tuple[Fraction, Fraction]] = field(default_factory=dict)

    def inputs(self, tape: Tape, name: str, domain: Domain) -> np.ndarray:
        """The entries of a variable over its covering box."""
        if isinstance(domain, Distribution):
            if domain.support is None:
                raise NotTraceable(f"{name} is known by its law only; give its support, or use level='sampled'")
            domain = domain.support
        if isinstance(domain, Box):
            if not domain.bounded:
                raise NotTraceable(f"{name} is unbounded; give low and high, or substitute a bounded variable")
            value = entry_inputs(tape, name, domain)
            for k in range(value.size):
                self.ends[name, k] = lowest(domain.low), highest(domain.high)
            return value
        builders: dict[type, Any] = {
            Sphere: self._sphere,
            Simplex: self._simplex,
            PositiveDefinite: self._positive_definite,
        }
        build = builders.get(type(domain))
        if build is None:
            raise NotTraceable(f"no covering box is known for {name} in {domain}")
        entries = np.empty(len(found := build(tape, name, domain)), dtype=object)
        entries[:] = found
        return entries.reshape(domain.shape)

    def _coordinate(self, tape: Tape, name: str, k: int, low: Fraction, high: Fraction) -> Number:
        self.ends[name, k] = low, high
        return tape.input(name, k, low >= 0)

    def _sphere(self, tape: Tape, name: str, domain: Sphere) -> list[Number]:
        """Spherical coordinates: x_1 = cos t_1, x_2 = sin t_1 cos t_2, ..., the last angle over a full turn."""
        rest, entries = tape.constant(domain.radius), []
        if domain.n == 1:
            raise NotTraceable(f"{name} lies on a sphere of dimension 0; use Integer(-1, 1)")
        for k in range(domain.n - 1):
            turn = 2 * HALF_TURN if k == domain.n - 2 else HALF_TURN
            angle = self._coordinate(tape, name, k, Fraction(0), turn)
            entries.append(rest * angle.apply("cos"))
            rest = rest * angle.apply("sin")
        return [*entries, rest]

    def _simplex(self, tape: Tape, name: str, domain: Simplex) -> list[Number]:
        """Broken stick: x_1 = t_1, x_2 = (1 - t_1) t_2, ..., with every t in [0, 1]."""
        rest, entries = tape.constant(1), []
        for k in range(domain.n - 1):
            t = self._coordinate(tape, name, k, Fraction(0), Fraction(1))
            entries.append(rest * t)
            left = 1 - t
            tape.nonnegative[left.index] = True
            rest = rest * left
        return [*entries, rest]

    def _positive_definite(self, tape: Tape, name: str, domain: PositiveDefinite) -> list[Number]:
        low, high = lowest(domain.low), highest(domain.high)
        if domain.n == 1:
            return [self._coordinate(tape, name, 0, low, high)]
        if domain.n > 2:
            raise NotTraceable(f"{name} is {domain.n}x{domain.n}; boxes cover positive definite matrices up to 2x2")
        a, b = (self._coordinate(tape, name, k, low, high) for k in (1, 2))
        angle = self._coordinate(tape, name, 0, Fraction(0), HALF_TURN)
        c, s = angle.apply("cos"), angle.apply("sin")
        off = (a - b) * c * s
        return [a * c * c + b * s * s, off, off, a * s * s + b * c * c]


def cases(claim: Claim) -> Iterator[tuple[RecordedClaim, Cover, dict[str, np.ndarray]]]:
    """The claim on a tape with its covering box, once for every value of its integers and permutations.

    Raises :class:`NotTraceable` with advice if a domain has no finite cover.
    """
    whole = {name: domain for name, domain in claim.variables.items() if domain.whole}
    count = math.prod(_count(domain) for domain in whole.values())
    if count > MAX_CASES:
        raise NotTraceable(f"{', '.join(whole)} take {count} values, more than {MAX_CASES}; narrow them")
    for values in itertools.product(*(_values(domain) for domain in whole.values())):
        fixed = dict(zip(whole, values, strict=True))
        cover = Cover()
        yield record_claim(claim, fixed, cover.inputs), cover, fixed


def point_of(claim: Claim, middle: dict[Key, float], whole: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The floats of the claim's variables at coordinates of the cover."""
    point = dict(whole)
    for name, domain in claim.variables.items():
        if domain.whole:
            continue
        base = domain.support if isinstance(domain, Distribution) and domain.support is not None else domain
        tape = Tape()
        entries = Cover().inputs(tape, name, base)
        point[name] = np.array([_float(tape, x, name, middle) for x in entries.flat]).reshape(domain.shape)
        if isinstance(base, PositiveDefinite):
            point[name] = (point[name] + point[name].T) / 2
    return point


def _float(tape: Tape, number: Number, name: str, middle: dict[Key, float]) -> float:
    from flint import arb

    from attnlab.analysis.exact.values import ball_values

    balls = {args: arb(middle.get(args, 0.0)) for op, args in tape.entries if op == "input"}
    return float(ball_values(tape, balls)[number.index].mid())


def _count(domain: Domain) -> int:
    if isinstance(domain, Permutation):
        return math.factorial(domain.n) if domain.n < 20 else 10**18
    return domain.high - domain.low + 1 if isinstance(domain, Integer) else 10**18


def _values(domain: Domain) -> Iterator[np.ndarray]:
    if isinstance(domain, Permutation):
        return (np.array(p) for p in itertools.permutations(range(domain.n)))
    assert isinstance(domain, Integer)  # the callers ask for whole domains only
    return (np.asarray(k) for k in range(domain.low, domain.high + 1))
