"""What a claim quantifies over: real boxes, spheres, simplices, positive definite matrices, permutations, integers,
laws.

Every domain offers the same methods in the same order: ``at`` (put numbers for named sizes), ``problem`` (why it is
malformed), ``draw`` (its reference measure), ``contains``, ``simpler`` (simpler values near one, for shrinking).
Sizes are ints or names (``Vector("n")``); a name gets its numbers from ``sizes`` of the claim.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

Size = Any  # a number, or the name of a size that is given later
LOOKED = 64  # draws of a law that are compared with its support, where that takes one at a time
MARGIN = 1e-12  # how far inside a curved boundary a float matrix stays, relative to its size


class Domain:
    """What all domains share; a new domain derives from it and states its own ``shape``, ``draw`` and ``contains``."""

    whole = False  # entries are whole numbers (discrete moves instead of gradients)
    sizes: tuple[str, ...] = ()  # fields that may name a size

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value."""
        raise NotImplementedError

    def names(self) -> set[str]:
        """Names of sizes still open."""
        return {getattr(self, f) for f in self.sizes if isinstance(getattr(self, f), str)}

    def at(self, sizes: Mapping[str, int]) -> Domain:
        """The domain with numbers for the named sizes."""
        known = {f: sizes[getattr(self, f)] for f in self.sizes if getattr(self, f) in sizes}
        return replace(self, **known) if known else self  # type: ignore[type-var]

    def problem(self) -> str:
        """Why the domain is malformed, or an empty string."""
        for f in self.sizes:
            n = getattr(self, f)
            if isinstance(n, bool) or not isinstance(n, (int, np.integer, str)):
                return f"{f}={n!r} must be a whole number or the name of a size"
            if not isinstance(n, str) and n < 1:
                return f"empty domain: {f}={n} must be at least 1"
        return ""

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """``n`` values from the reference measure, shape (n, *shape)."""
        raise NotImplementedError

    def contains(self, value: np.ndarray) -> bool:
        """Whether a float value lies in the domain (curved ones: up to rounding)."""
        raise NotImplementedError

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        """Simpler values than this one, the simplest first; they may leave the domain."""
        return iter(())

    def measure(self) -> str:
        """The reference measure in words."""
        return "uniform"

    def __str__(self) -> str:
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


class Box(Domain):
    """Entries between ``low`` and ``high``; ends are ints, floats, Fractions or infinite."""

    low: float | Fraction
    high: float | Fraction

    def problem(self) -> str:
        for end in ("low", "high"):
            value = getattr(self, end)
            if isinstance(value, (bool, complex, str)) or not hasattr(value, "__float__") or math.isnan(value):
                return f"{end}={value!r} must be a number"
        if self.low > self.high or self.low == math.inf or self.high == -math.inf:
            return f"empty domain: low={self.low} is above high={self.high}; swap them"
        return super().problem()

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        low, high, shape = float(self.low), float(self.high), (n, *self.shape)
        if self.bounded:
            return generator.uniform(low, high, shape)
        if math.isfinite(low):
            return low + generator.exponential(size=shape)
        return high - generator.exponential(size=shape) if math.isfinite(high) else generator.standard_normal(shape)

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.all(np.isfinite(value)) and all(self.low <= float(x) <= self.high for x in np.ravel(value)))

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        rest = [float(min(max(0, self.low), self.high)), *(float(x) for x in (self.low, self.high) if math.isfinite(x))]
        yield from (np.full_like(value, r) for r in rest[:1])
        flat = value.ravel()
        yield from _blocks(value, rest[0])
        for digits in (1, 2, 3, 5):
            yield _rounded(value, digits)
            for k in range(flat.size):
                yield _with(value, k, float(_rounded(flat[k : k + 1], digits)[0]))
        for k in range(flat.size):
            yield _with(value, k, float(np.floor(flat[k])))
            yield _with(value, k, float(np.ceil(flat[k])))
        for k in range(flat.size):
            yield from (_with(value, k, r) for r in rest[1:])

    def measure(self) -> str:
        if self.bounded:
            return "uniform"
        return "standard normal" if math.isinf(self.low) and math.isinf(self.high) else "exponential"

    def __str__(self) -> str:
        ends = (
            ("[" if math.isfinite(self.low) else "(")
            + f"{self.low}, {self.high}"
            + ("]" if math.isfinite(self.high) else ")")
        )
        return ends + "".join(f"^{n}" for n in ["x".join(str(getattr(self, f)) for f in self.sizes)] if n)


@dataclass(frozen=True)
class Real(Box):
    """A real number between ``low`` and ``high``."""

    low: float | Fraction = -math.inf
    high: float | Fraction = math.inf

    @property
    def shape(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Vector(Box):
    """A vector of ``n`` reals between ``low`` and ``high``: ``Vector(16, low=-10, high=10)``."""

    n: Size
    low: float | Fraction = -math.inf
    high: float | Fraction = math.inf
    sizes = ("n",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)


@dataclass(frozen=True)
class Matrix(Box):
    """A ``rows`` by ``cols`` matrix of reals between ``low`` and ``high``."""

    rows: Size
    cols: Size
    low: float | Fraction = -math.inf
    high: float | Fraction = math.inf
    sizes = ("rows", "cols")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.cols)


@dataclass(frozen=True)
class Sphere(Domain):
    """Vectors of R^n of length ``radius``. A float vector stands for the point of the sphere in its direction."""

    n: Size
    radius: float = 1.0
    sizes = ("n",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    def problem(self) -> str:
        if not (isinstance(self.radius, (int, float, Fraction)) and 0 < self.radius < math.inf):
            return f"empty domain: radius={self.radius!r} must be positive and finite"
        return super().problem()

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        z = generator.standard_normal((n, *self.shape))
        return float(self.radius) * z / np.linalg.norm(z, axis=-1, keepdims=True)

    def contains(self, value: np.ndarray) -> bool:
        return bool(abs(np.linalg.norm(value) - float(self.radius)) <= 1e-9 * float(self.radius))

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        for z in [*_blocks(value, 0.0), *(_rounded(value / float(self.radius), d) for d in (1, 2, 3))]:
            length = np.linalg.norm(z)
            if length > 0:
                yield float(self.radius) * z / length


@dataclass(frozen=True)
class Simplex(Domain):
    """Probability vectors of length ``n``. A float vector stands for its multiple with sum one."""

    n: Size
    sizes = ("n",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        return generator.dirichlet(np.ones(self.n), size=n)

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.all(value >= 0) and abs(value.sum() - 1) <= 1e-9)

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        for z in [*_blocks(value, 0.0), *(np.round(value, d) for d in (1, 2, 3))]:
            if z.sum() > 0:
                yield z / z.sum()


@dataclass(frozen=True)
class PositiveDefinite(Domain):
    """Symmetric ``n`` by ``n`` matrices with all eigenvalues in [low, high]; eigenvectors uniform, log eigenvalues
    uniform."""

    n: Size
    low: float = 0.1
    high: float = 10.0
    sizes = ("n",)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n, self.n)

    def problem(self) -> str:
        if not 0 < self.low <= self.high < math.inf:
            return f"empty domain: eigenvalues need 0 < low <= high, got low={self.low}, high={self.high}"
        return super().problem()

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        q, _ = np.linalg.qr(generator.standard_normal((n, *self.shape)))
        values = np.exp(generator.uniform(math.log(self.low), math.log(self.high), (n, self.n)))
        values = (
            np.clip(values, self.low + MARGIN * self.high, self.high * (1 - MARGIN)) if self.low < self.high else values
        )
        a = (q * values[:, None, :]) @ np.swapaxes(q, -1, -2)
        return (a + np.swapaxes(a, -1, -2)) / 2

    def contains(self, value: np.ndarray) -> bool:
        if not np.array_equal(value, value.T):
            return False
        ends = np.linalg.eigvalsh(value)
        return bool(ends[0] >= float(self.low) and ends[-1] <= float(self.high))

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        yield np.eye(self.n) * np.trace(value) / self.n
        yield np.diag(np.diag(value))
        for digits in (1, 2, 3):
            z = _rounded(value, digits)
            yield (z + z.T) / 2

    def measure(self) -> str:
        return "uniform eigenvectors, log-uniform eigenvalues"


@dataclass(frozen=True)
class Integer(Domain):
    """A whole number from ``low`` to ``high``, both included."""

    low: int
    high: int
    whole = True

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def problem(self) -> str:
        for end in ("low", "high"):
            if isinstance(getattr(self, end), bool) or not isinstance(getattr(self, end), (int, np.integer)):
                return f"{end}={getattr(self, end)!r} must be a whole number"
        return f"empty domain: low={self.low} is above high={self.high}; swap them" if self.low > self.high else ""

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        return generator.integers(self.low, self.high, endpoint=True, size=n)

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.ndim(value) == 0 and value == int(value) and self.low <= value <= self.high)

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        start = min(max(0, self.low), self.high)
        steps = {start, start + 1, (start + int(value)) // 2, int(value) - int(np.sign(int(value) - start))} - {
            int(value)
        }
        yield from (np.asarray(k) for k in sorted(steps, key=abs))


@dataclass(frozen=True)
class Permutation(Domain):
    """Permutations of 0, ..., n - 1, as index arrays: ``x[pi]`` permutes."""

    n: Size
    sizes = ("n",)
    whole = True

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        return np.argsort(generator.random((n, self.n)), axis=1)

    def contains(self, value: np.ndarray) -> bool:
        return bool(np.array_equal(np.sort(value), np.arange(self.n)))

    def simpler(self, value: np.ndarray) -> Iterator[np.ndarray]:
        yield np.arange(self.n)
        for k in range(self.n):
            if value[k] != k:
                out = value.copy()
                out[np.flatnonzero(value == k)[0]], out[k] = value[k], k
                yield out


@dataclass(frozen=True)
class Distribution(Domain):
    """Values with a given law: ``draw_from(generator, n)`` returns (n, *value_shape). The claim speaks of its support.

    The sampled level bounds the violating mass under this very law. ``support`` is a box the values are known to fill;
    without it a search among draws can refute a claim, but not hold it: what the law draws seldom is not known.
    """

    draw_from: Callable[[np.random.Generator, int], np.ndarray]
    value_shape: tuple[int, ...] = ()
    label: str = "given law"
    support: Domain | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value_shape)

    def problem(self) -> str:
        if not callable(self.draw_from):
            return f"draw_from must be a function (generator, n) -> array, got {self.draw_from!r}"
        if self.support is not None and self.support.shape != self.shape:
            return f"support has shape {self.support.shape}, the values {self.shape}"
        return self.support.problem() if self.support is not None else ""

    def draw(self, n: int, generator: np.random.Generator) -> np.ndarray:
        values = np.asarray(self.draw_from(generator, n), dtype=np.float64)
        if values.shape != (n, *self.shape):
            raise ValueError(
                f"draw_from returned shape {values.shape} for n={n}, expected {(n, *self.shape)}; set value_shape"
            )
        self._check_support(values)
        return values

    def _check_support(self, values: np.ndarray) -> None:
        """Raise ``ValueError`` if draws lie outside the support, beyond rounding: all of a box, the first of others."""
        base = self.support
        if isinstance(base, Box):
            low, high = float(base.low), float(base.high)
            room = 1e-9 * max((abs(end) for end in (low, high) if math.isfinite(end)), default=0.0)
            inside = ((values >= low - room) & (values <= high + room)).reshape(len(values), -1).all(axis=1)
        elif base is None or isinstance(base, PositiveDefinite):
            return
        else:
            inside = np.array([base.contains(value) for value in values[:LOOKED]], dtype=bool)
        if not inside.all():
            value = np.array2string(values[int(np.argmin(inside))], precision=6, threshold=6)
            raise ValueError(f"draw_from of {self.label!r} returned {value}, outside its support {base}")

    def contains(self, value: np.ndarray) -> bool:
        return self.support is None or self.support.contains(value)

    def measure(self) -> str:
        return self.label

    def __str__(self) -> str:
        return self.label


def round_digits(value: float, digits: int) -> float:
    """The value rounded to a number of significant decimal digits."""
    return float(f"{value:.{digits - 1}e}") if value and math.isfinite(value) else value


def _rounded(value: np.ndarray, digits: int) -> np.ndarray:
    return np.array([round_digits(float(x), digits) for x in np.ravel(value)]).reshape(np.shape(value))


def _blocks(value: np.ndarray, rest: float) -> Iterator[np.ndarray]:
    """The value with blocks of entries set to ``rest``: halves first, single entries last."""
    size, width = value.size, max(1, value.size // 2)
    while True:
        for start in range(0, size, width):
            block = np.arange(start, min(start + width, size))
            if np.any(value.ravel()[block] != rest):
                out = value.copy()
                out.ravel()[block] = rest
                yield out
        if width == 1:
            return
        width //= 2


def _with(value: np.ndarray, k: int, entry: float) -> np.ndarray:
    out = value.copy()
    out.ravel()[k] = entry
    return out
