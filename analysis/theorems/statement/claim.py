"""State a theorem once: what it quantifies over, what it assumes, its two sides, and the twin that must fail.

>>> claim = for_all(x=Real(-2, 2)).bound(lambda x: x * (1 - x), at_most=0.25, name="quarter",
...                                      twin=Twin.of("a fifth", at_most=0.2))
>>> claim.statement
'x * (1 - x) <= 0.25 for all x in [-2, 2]'

A side is a number, a sympy expression in the variables' names, or a function whose parameters are variables' names;
it is written for one point, in torch or numpy. The claim is judged by :func:`attnlab.analysis.theorems.check.check`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from attnlab.analysis.suggestions import did_you_mean
from attnlab.analysis.theorems.statement.domains import Distribution, Domain, Real
from attnlab.analysis.theorems.statement.sides import ClaimError, check_side, distance, is_sympy
from attnlab.analysis.theorems.statement.wording import written
from attnlab.analysis.verdicts.verdict import Twin

__all__ = ["Assumption", "Claim", "ClaimError", "Quantified", "Real", "exists", "for_all"]

_SENSES = {"at_most": "<=", "at_least": ">=", "equals": "=="}


@dataclass(frozen=True)
class Assumption:
    """A named condition: true, or a margin >= 0, where the claim is meant to hold."""

    name: str
    condition: Any


@dataclass(frozen=True)
class Claim:
    """A quantified statement ``left <sense> right``; made by :func:`for_all` and :func:`exists`, not by hand."""

    variables: Mapping[str, Domain]
    left: Any
    right: Any
    sense: str
    quantifier: str = "for_all"
    within: float = 0.0
    assumptions: tuple[Assumption, ...] = ()
    where: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    twins: tuple[Twin, ...] = ()
    name: str = ""
    source: str = ""
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    chosen: Mapping[str, int] = field(default_factory=dict)
    between: tuple[float, float] | None = None
    family: Claim | None = None  # the claim with its named sizes, before ``at``

    def __post_init__(self) -> None:
        _check_variables(self)
        for label, side in self.parts().items():
            check_side(label, side, self.variables, [*self.variables, *self.where, *self.sizes, *self.chosen])
        if self.quantifier == "average":
            _check_mean(self)

    @property
    def kind(self) -> str:
        """``for_all``, ``exists``, ``average``, ``identity`` or ``construction``."""
        if self.quantifier != "for_all":
            return self.quantifier
        if self.where:
            return "construction"
        return "identity" if self.sense == "equals" else "for_all"

    @property
    def sides(self) -> str:
        """What is claimed of the two sides, as it was written."""
        sides = f"{written(self.left)} {_SENSES[self.sense]} {written(self.right)}"
        return sides + (f" within {self.within:g}" if self.within else "")

    @property
    def statement(self) -> str:
        """The claim in one line."""
        over = ", ".join(f"{name} in {domain}" for name, domain in self.variables.items())
        words = {"for_all": "for all", "exists": "for some", "average": "on average over"}[self.quantifier]
        given = ", ".join(a.name for a in self.assumptions)
        return f"{self.sides} {words} {over}" + (f", assuming {given}" if given else "")

    @property
    def region(self) -> str:
        """The domain in words, with its dimension."""
        over = ", ".join(f"{name} in {domain}" for name, domain in self.variables.items())
        shapes = [domain.shape for domain in self.variables.values()]
        return f"{over} (dimension {sum(math.prod(s) for s in shapes)})" if not self.open_sizes else over

    @property
    def open_sizes(self) -> set[str]:
        """Names of sizes that have no number yet."""
        return set().union(*(domain.names() for domain in self.variables.values()))

    def parts(self) -> dict[str, Any]:
        """The sides, definitions and conditions by the name that errors use."""
        return {
            "left side": self.left,
            "right side": self.right,
            **{f"definition of {name!r}": side for name, side in self.where.items()},
            **{f"assumption {a.name!r}": a.condition for a in self.assumptions},
        }

    def at(self, **sizes: int) -> Claim:
        """The claim at given sizes: ``claim.at(n=16)``."""
        known = set(self.sizes) | self.open_sizes
        for size, value in sizes.items():
            if size not in known:
                raise ClaimError(f"the claim has no size {size!r}; it has {sorted(known) or 'none'}")
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ClaimError(f"size {size}={value!r} must be a whole number >= 1")
        chosen = {**self.chosen, **{k: int(v) for k, v in sizes.items()}}
        variables = {name: domain.at(chosen) for name, domain in self.variables.items()}
        return replace(self, variables=variables, chosen=chosen, family=self.family or self)

    def instances(self) -> list[Claim]:
        """The claim at every combination of its listed sizes (itself, if it names none)."""
        names = sorted(self.sizes.keys() - self.chosen.keys())
        return [
            self.at(**dict(zip(names, values, strict=True)))
            for values in itertools.product(*(self.sizes[name] for name in names))
        ]

    def with_twin(self, twin: Twin) -> Claim:
        """The twin's claim: the same statement with the twin's arguments replaced, and no twin of its own."""
        return self._replaced(twin.arguments, f"twin {twin.label!r}", name=f"{self.name} [{twin.label}]")

    def without(self, assumption: str) -> Claim:
        """The claim without one of its assumptions."""
        kept = tuple(a for a in self.assumptions if a.name != assumption)
        if len(kept) == len(self.assumptions):
            raise ClaimError(f"the claim has no assumption {assumption!r}; it has {[a.name for a in self.assumptions]}")
        return replace(self, assumptions=kept, twins=(), family=None, name=f"{self.name} without {assumption}")

    def _replaced(self, arguments: Mapping[str, Any], what: str, name: str) -> Claim:
        changed: dict[str, Any] = {"twins": (), "name": name, "family": None}
        variables = dict(self.variables)
        for key, value in arguments.items():
            if key in _SENSES:
                changed.update(right=value, sense=key)
            elif key in ("left", "within", "where"):
                changed[key] = value
            elif key == "assuming":
                changed["assumptions"] = _assumptions(value)
            elif key in variables:
                variables[key] = value
            else:
                options = ["left", *_SENSES, "within", "where", "assuming", *variables]
                raise ClaimError(f"{what} replaces {key!r}, which the claim does not have{did_you_mean(key, options)}")
        return replace(
            self,
            variables={k: d.at(self.chosen) if isinstance(d, Domain) else d for k, d in variables.items()},
            **changed,
        )


@dataclass(frozen=True)
class Quantified:
    """Variables with their domains, waiting for the statement about them."""

    variables: Mapping[str, Domain]
    quantifier: str

    def bound(
        self,
        left: Any,
        *,
        at_most: Any = None,
        at_least: Any = None,
        assuming: Any = (),
        where: Mapping[str, Callable[..., Any]] | None = None,
        twin: Twin | Sequence[Twin] = (),
        name: str = "",
        source: str = "",
        sizes: Mapping[str, Any] | None = None,
    ) -> Claim:
        """The claim ``left <= at_most`` or ``left >= at_least``, entry by entry if the sides are arrays.

        ``where`` defines further names from the variables: the construction of a theorem that says "there is" and
        gives it. ``assuming`` lists conditions (functions returning a bool or a margin >= 0, sympy relations) or
        names them in a mapping. ``sizes`` gives numbers for named sizes: ``sizes={"n": (2, 16)}``.
        """
        sense, right = _one_of(at_most=at_most, at_least=at_least)
        return self._claim(left, right, sense, assuming, where, twin, name, source, sizes)

    def identity(
        self,
        left: Any,
        *,
        equals: Any,
        within: float = 0.0,
        assuming: Any = (),
        where: Mapping[str, Callable[..., Any]] | None = None,
        twin: Twin | Sequence[Twin] = (),
        name: str = "",
        source: str = "",
        sizes: Mapping[str, Any] | None = None,
    ) -> Claim:
        """The claim ``left == equals``, exactly or within an absolute error."""
        if not within >= 0:
            raise ClaimError(f"within={within!r} must be a number >= 0")
        return replace(self._claim(left, equals, "equals", assuming, where, twin, name, source, sizes), within=within)

    def _claim(
        self,
        left: Any,
        right: Any,
        sense: str,
        assuming: Any,
        where: Any,
        twin: Any,
        name: str,
        source: str,
        sizes: Any,
    ) -> Claim:
        twins = (twin,) if isinstance(twin, Twin) else tuple(twin)
        claim = Claim(
            self.variables,
            left,
            right,
            sense,
            self.quantifier,
            assumptions=_assumptions(assuming),
            where=dict(where or {}),
            twins=twins,
            name=name,
            source=source,
            sizes=_sizes(sizes),
        )
        for one in twins:
            claim.with_twin(one)  # a twin that does not fit is an error here
        return claim


@dataclass(frozen=True)
class ForAll(Quantified):
    """Variables of a for-all claim."""

    def on_average(
        self,
        left: Any,
        *,
        between: tuple[float, float],
        at_most: Any = None,
        at_least: Any = None,
        twin: Twin | Sequence[Twin] = (),
        name: str = "",
    ) -> Claim:
        """The mean of ``left`` over the reference measures is bounded, entry by entry; ``between`` are its certain ends
        (for Hoeffding)."""
        sense, right = _one_of(at_most=at_most, at_least=at_least)
        if not (len(between) == 2 and -math.inf < between[0] < between[1] < math.inf):
            raise ClaimError(f"between={between!r} must be two finite numbers, low < high, that enclose the left side")
        claim = self._claim(left, right, sense, (), None, twin, name, "", None)
        return replace(claim, quantifier="average", between=(float(between[0]), float(between[1])))


@dataclass(frozen=True)
class Exists(Quantified):
    """Variables of an existence claim."""

    def such_that(
        self,
        left: Any,
        *,
        at_most: Any = None,
        at_least: Any = None,
        equals: Any = None,
        within: float = 0.0,
        twin: Twin | Sequence[Twin] = (),
        name: str = "",
    ) -> Claim:
        """Some point meets the condition. A point found proves it; balls on the whole box refute it."""
        if equals is not None:
            if not within > 0:
                raise ClaimError(f"an equation solved in floating point needs within > 0, got within={within!r}")
            left, sense, right = distance(left, equals), "at_most", within
        else:
            sense, right = _one_of(at_most=at_most, at_least=at_least)
        return self._claim(left, right, sense, (), None, twin, name, "", None)


def for_all(**variables: Domain) -> ForAll:
    """Quantify over variables with domains: ``for_all(x=Vector(16, low=-10, high=10), k=Integer(1, 8))``."""
    return ForAll(_domains(variables), "for_all")


def exists(**variables: Domain) -> Exists:
    """Claim that some point of the domains meets a condition: ``exists(w=Vector(3, -1, 1)).such_that(...)``."""
    return Exists(_domains(variables), "exists")


def _domains(variables: Mapping[str, Any]) -> dict[str, Domain]:
    if not variables:
        raise ClaimError("a claim needs at least one variable: for_all(x=Real(-1, 1))")
    return dict(variables)


def _check_variables(claim: Claim) -> None:
    for name, domain in claim.variables.items():
        if not isinstance(domain, Domain):
            raise ClaimError(f"variable {name!r} needs a domain such as Real(-1, 1) or Vector(16), got {domain!r}")
        problem = domain.problem()
        if problem:
            raise ClaimError(f"variable {name!r}: {problem}")
        if claim.quantifier == "for_all" and isinstance(domain, Distribution) and domain.names():
            raise ClaimError(f"variable {name!r}: a law has no named sizes")
    missing = claim.open_sizes - claim.sizes.keys()
    if missing:
        size = sorted(missing)[0]
        owner = next(name for name, domain in claim.variables.items() if size in domain.names())
        raise ClaimError(f"variable {owner!r} has the open size {size!r}; give sizes={{{size!r}: (2, 16)}}")


def _check_mean(claim: Claim) -> None:
    """The right side of a claim on a mean must be one number."""
    try:
        float(claim.right)
    except (TypeError, ValueError):
        raise ClaimError(f"the right side of a claim on an average must be one number, got {claim.right!r}") from None


def _assumptions(given: Any) -> tuple[Assumption, ...]:
    if isinstance(given, Mapping):
        return tuple(Assumption(name, condition) for name, condition in given.items())
    if callable(given) or is_sympy(given):
        given = [given]
    out = [a if isinstance(a, Assumption) else Assumption(_condition_name(a, k), a) for k, a in enumerate(given, 1)]
    names = [a.name for a in out]
    if len(set(names)) < len(names):
        raise ClaimError(
            f"two assumptions share a name: {names}; name them in a mapping, assuming={{'name': condition}}"
        )
    return tuple(out)


def _condition_name(condition: Any, k: int) -> str:
    if is_sympy(condition):
        return str(condition)
    name = getattr(condition, "__name__", "<lambda>")
    if name != "<lambda>":
        return name
    text = written(condition)
    return f"assumption {k}" if text.startswith("lambda ") else text


def _sizes(given: Mapping[str, Any] | None) -> dict[str, tuple[int, ...]]:
    sizes = {}
    for name, values in (given or {}).items():
        values = (values,) if isinstance(values, (int, np.integer)) else tuple(values)
        if not values or any(isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < 1 for v in values):
            raise ClaimError(f"size {name!r} needs whole numbers >= 1, got {values!r}")
        sizes[name] = tuple(int(v) for v in values)
    return sizes


def _one_of(**senses: Any) -> tuple[str, Any]:
    given = {sense: right for sense, right in senses.items() if right is not None}
    if len(given) != 1:
        raise ClaimError(f"give exactly one of {' and '.join(senses)}, got {sorted(given) or 'none'}")
    return next(iter(given.items()))
