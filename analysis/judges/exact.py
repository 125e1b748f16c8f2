"""Are two computations the same, and is a statement true in each of finitely many cases? Judges without statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import as_twin, margin
from attnlab.analysis.judges.frame import judge
from attnlab.analysis.statistics.intervals import unmasked
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict


def identical(
    a: ArrayLike,
    b: ArrayLike,
    *,
    rounding: float = 0.0,
    twin: Twin | ArrayLike,
    scale: ArrayLike | None = None,
    eps: float | None = None,
) -> Verdict:
    r"""Two computations give the same numbers, up to a budget of rounding errors.

    .. math:: |a_i - b_i| \le \text{rounding} \cdot \epsilon \cdot \text{scale}_i

    Args:
        a, b: arrays of equal shape, b the reference. Whole numbers and booleans are compared exactly.
        rounding: how many roundings the algorithms may differ by, counted beforehand; 0 means equal.
        twin: a rival array for b that must differ, or ``Twin.of(label, b=...)``, also with ``a`` or ``rounding``.
        scale: size of the numbers that were rounded on the way, one, or one per entry; the largest |b| by default.
        eps: spacing of floating-point numbers at one; by default that of the coarser type of a and b.

    Infinities must be equal. A NaN in a alone is a refutation; in b it is an error, for nothing equals it. No error
    probability is drawn. ``measured`` is the largest difference in units of eps times scale; ``resolves`` is the change of
    b, as a share of its scale, that would be refuted: the budget and what of it is used.
    """
    arguments = {"a": a, "b": b, "rounding": rounding}
    twin = as_twin("identical", twin, arguments, "b")

    def check(a: ArrayLike, b: ArrayLike, rounding: float) -> Verdict:
        x, y = _numbers("a", a), _numbers("b", b)
        budget = margin("rounding", rounding, zero=True)
        if x.shape != y.shape:
            raise ValueError(f"a and b must have equal shapes, got {x.shape} and {y.shape}")
        if np.isnan(y).any():
            raise ValueError(f"b[{_index(np.isnan(y))}] is nan, and nothing equals it; compare where b is defined")
        blank = Verdict(
            Outcome.HOLDS,
            "identity",
            of="largest difference in eps × scale",
            predicted=budget,
            relation="<=",
            n=x.size,
            unit="entry",
            level="identity",
        )
        if x.size == 0:
            return replace(blank, outcome=Outcome.VACUOUS, reason="both arrays are empty")
        errors = _errors(x, y, _spacing(x, y) if eps is None else margin("eps", eps), scale)
        worst = np.unravel_index(int(np.argmax(errors)), errors.shape)
        measured = float(errors[worst])
        blank = replace(blank, measured=measured if math.isfinite(measured) else None)
        if measured <= budget:
            spacing = _spacing(x, y) if eps is None else eps
            return replace(blank, resolves=(budget + measured) * spacing)
        at = [int(i) for i in worst]
        left, right = x[worst].item(), y[worst].item()
        reason = f"entry {at} is {left!r} against {right!r}; {int(np.sum(errors > budget))} of {x.size} entries differ"
        return replace(
            blank,
            outcome=Outcome.REFUTED,
            reason=reason,
            witness={"index": at, "a": _plain_number(left), "b": _plain_number(right)},
        )

    return judge(check, arguments, twin)


def exhaustive(
    cases: Iterable[Any],
    check: Callable[[Any], bool],
    *,
    twin: Twin | Callable[[Any], bool],
    of: str = "every case",
    unit: str = "case",
) -> Verdict:
    """A statement is true in every one of finitely many cases, each of which is tried.

    ``check(case)`` returns True or False. ``twin`` is a rival check that must fail in some case, or
    ``Twin.of(label, check=...)``, also with ``cases``. ``n`` counts the cases; REFUTED carries the first that fails as
    its witness, with the number that do. No cases are VACUOUS. No error probability is drawn.
    """
    arguments = {"cases": cases if isinstance(cases, (list, tuple, range)) else list(cases), "check": check}
    twin = as_twin("exhaustive", twin, arguments, "check")

    def run(cases: Iterable[Any], check: Callable[[Any], bool]) -> Verdict:
        if not callable(check):
            raise TypeError(f"check must be a function of a case, got {check!r}")
        n, failures, first = 0, 0, None
        for case in cases:
            answer = check(case)
            if not isinstance(answer, (bool, np.bool_)):
                raise TypeError(f"check must return True or False, but for {case!r} it returned {answer!r}")
            first = case if not answer and failures == 0 else first
            n, failures = n + 1, failures + (not answer)
        blank = Verdict(
            Outcome.HOLDS,
            "exhaustive",
            of=of,
            n=n,
            unit=unit,
            level="exhaustive",
            measured=(n - failures) / n if n else None,
            predicted=1.0,
            relation="=",
        )
        if n == 0:
            return replace(blank, outcome=Outcome.VACUOUS, reason=f"there is no {unit}")
        if failures:
            witness = {"case": first if _is_plain(first) else repr(first), "failures": failures}
            return replace(
                blank,
                outcome=Outcome.REFUTED,
                witness=witness,
                reason=f"fails in {failures} of {n}, first for {first!r:.200}",
            )
        return blank

    return judge(run, arguments, twin)


def _numbers(name: str, values: ArrayLike) -> np.ndarray:
    x = unmasked(name, values)
    if x.dtype.kind not in "fiubc":
        raise ValueError(f"{name} must hold numbers, got dtype {x.dtype}")
    return x


def _spacing(x: np.ndarray, y: np.ndarray) -> float:
    """eps of the coarser floating type; zero if both hold whole numbers."""
    return max((float(np.finfo(v.dtype).eps) for v in (x, y) if v.dtype.kind in "fc"), default=0.0)


def _errors(x: np.ndarray, y: np.ndarray, eps: float, scale: ArrayLike | None) -> np.ndarray:
    """|x - y| in units of eps times scale; infinite where any difference counts and there is one."""
    same = x == y
    if eps == 0:
        return np.where(same, 0.0, np.inf)
    wide = np.complex128 if "c" in (x.dtype.kind, y.dtype.kind) else np.float64
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(same, 0.0, np.abs(x.astype(wide) - y.astype(wide)))
    sizes = np.abs(y[np.isfinite(y)]).max(initial=0) if scale is None else np.asarray(scale, dtype=np.float64)
    if not np.all(np.isfinite(sizes)) or np.any(sizes < 0):
        raise ValueError(f"scale must be finite and >= 0, got {scale!r}")
    unit = np.broadcast_to(eps * sizes, x.shape)
    errors = np.full(x.shape, np.inf)
    np.divide(difference, unit, out=errors, where=(unit > 0) & np.isfinite(difference))
    errors[same] = 0.0
    return errors


def _index(mask: np.ndarray) -> str:
    return ", ".join(str(int(i)) for i in np.argwhere(mask)[0])


def _plain_number(value: Any) -> Any:
    """The number itself, or its text where JSON has none for it."""
    return value if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)) else str(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, np.ndarray, np.generic))
