"""Is one quantity larger than another, and how often does something happen? Judges of order and of shares."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import as_null, as_twin, finite_number, margin, replicas
from attnlab.analysis.judges.frame import (
    decide,
    decide_every,
    every_replica,
    judge,
    nothing_to_judge,
    out_of_reach,
    values_witness,
    why,
)
from attnlab.analysis.judges.located import Located, known, locate
from attnlab.analysis.judges.resolution import rival_distance
from attnlab.analysis.statistics.intervals import clopper_pearson, difference_interval, has_spread, skew_guard, unmasked
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict
from attnlab.analysis.verdicts.wording import read_of


def ordered(
    smaller: ArrayLike,
    larger: ArrayLike,
    *,
    by: float = 0.0,
    twin: Twin | float,
    paired: bool | None = None,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    null: Twin | None = None,
) -> Verdict:
    r"""One quantity exceeds another by more than ``by``: larger - smaller > by.

    HOLDS iff the whole interval of the difference lies above ``by``, REFUTED iff none of it does.

    Args:
        smaller, larger: shape (replica,). With ``paired`` (the default if the lengths agree) entry i of both comes from
            the same seed or data and the differences are judged; otherwise by Welch's interval, for means only.
        twin: a larger ``by`` that the data must refute, or ``Twin.of(label, ...)`` replacing ``smaller``, ``larger`` or
            ``by``; the reversed order is ``Twin.of("reversed", smaller=larger, larger=smaller)``.
        of: as in :func:`attnlab.analysis.agrees`, of the differences.
        null: the null control, ``Twin.of("nothing is learnt", smaller=..., larger=...)`` with the values at the start.
    """
    arguments = {"smaller": smaller, "larger": larger, "by": by}
    twin = as_twin("ordered", twin, arguments, "by")
    if set(twin.arguments) == {"by"} and not twin.arguments["by"] > by:
        raise ValueError(
            f"twin by={twin.arguments['by']!r} is weaker than by={by!r}, so it holds whenever the claim "
            "does; name a larger one that the data must refute"
        )
    error, kind = draw("ordered", confidence), read_of(of)[0]

    def check(smaller: ArrayLike, larger: ArrayLike, by: float) -> Verdict:
        a, b, step = replicas("smaller", smaller), replicas("larger", larger), finite_number("by", by)
        pairs = a.size == b.size if paired is None else paired
        blank = Verdict(
            Outcome.UNDECIDED,
            "order",
            of=f"difference, {of}",
            predicted=step,
            confidence=1 - error,
            n=min(a.size, b.size),
            unit=unit,
            relation=">",
        )
        if blank.n == 0:
            return nothing_to_judge(blank, unit)
        if pairs and a.size != b.size:
            raise ValueError(f"paired=True needs equal lengths, got smaller {a.size} and larger {b.size}")
        if not pairs and kind != "mean":
            raise ValueError(f"of={of!r} needs pairs; without them only 'mean over {unit}s' can be judged")
        d = b - a if pairs else np.array([])
        found = locate(d, of, error) if pairs else _unpaired(a, b, error)
        estimate = float(d.min()) if kind == "every" else found.estimate
        blank = replace(blank, measured=estimate, interval=found.interval)
        above = math.nextafter(step, math.inf)  # strictly more than by
        if kind == "every":
            return every_replica(blank, d, np.full(d.size, step), decide_every(d, above, math.inf))
        outcome = decide(found.interval, above, math.inf)
        witness = None
        if outcome is Outcome.REFUTED:
            both = {"smaller": values_witness(a), "larger": values_witness(b), "by": step}
            witness = values_witness(d, by=step) if pairs else both
        return replace(blank, outcome=outcome, witness=witness, reason=why(outcome, found, blank.n, above, math.inf))

    return judge(check, arguments, twin, null=as_null("ordered", null, arguments, "larger"))


def share(
    successes: ArrayLike,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    predicted: float | None = None,
    within: float | None = None,
    twin: Twin | float,
    unit: str = "replica",
    confidence: float | None = None,
    null: Twin | ArrayLike | None = None,
) -> Verdict:
    r"""The share of replicas (of the population they are drawn from) for which something is true.

    Exactly one of: ``at_least``, ``at_most``, or ``predicted`` with ``within``. Judged by the Clopper-Pearson interval,
    which is never below its level, whatever n is. ``successes`` is boolean, shape (replica,). ``twin`` is a rival
    number for the same argument (a larger ``at_least``, a smaller ``at_most``, another ``predicted``), or ``Twin.of``,
    also with ``successes``; ``null`` gives the successes at the frozen start. If no outcome of
    n replicas could give HOLDS, ``reason`` says how many replicas could.
    """
    given = {
        name: value
        for name, value in {"at_least": at_least, "at_most": at_most, "predicted": predicted}.items()
        if value is not None
    }
    if len(given) != 1 or (within is None) != (predicted is None):
        raise ValueError(
            "share needs exactly one of at_least=..., at_most=..., or predicted=... with within=...; got "
            f"at_least={at_least!r}, at_most={at_most!r}, predicted={predicted!r}, within={within!r}"
        )
    name = next(iter(given))
    arguments = {"successes": successes, **given, **({} if within is None else {"within": within})}
    twin = as_twin("share", twin, arguments, name)
    if set(twin.arguments) == {name} and name != "predicted":
        stricter = twin.arguments[name] > given[name] if name == "at_least" else twin.arguments[name] < given[name]
        if not stricter:
            raise ValueError(
                f"twin {name}={twin.arguments[name]!r} is weaker than {name}={given[name]!r}, so it holds "
                "whenever the claim does; name a stricter one that the data must refute"
            )
    error = draw("share", confidence)

    def check(successes: ArrayLike, within: float | None = None, **region: float) -> Verdict:
        ((name, value),) = region.items()
        value = finite_number(name, value)
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be a share in [0, 1], got {value!r}")
        low, high = _region(name, value, within)
        hits = unmasked("successes", successes)
        if hits.dtype != np.bool_ or hits.ndim != 1:
            raise ValueError(f"successes must be boolean, shape (replica,), got dtype {hits.dtype}, shape {hits.shape}")
        blank = Verdict(
            Outcome.UNDECIDED,
            "share",
            of=f"share of {unit}s",
            predicted=value,
            margin=within,
            n=hits.size,
            confidence=1 - error,
            unit=unit,
            relation={"at_least": ">=", "at_most": "<="}.get(name, "in"),
        )
        if hits.size == 0:
            return nothing_to_judge(blank, unit)
        k, n = int(hits.sum()), hits.size
        interval = clopper_pearson(k, n, 1 - error)
        outcome = decide(interval, low, high)
        found = Located(k / n, interval, trouble=_unattainable(n, low, high, error))
        witness = {"successes": k, "n": n, name: value, "within": within} if outcome is Outcome.REFUTED else None
        return replace(
            blank,
            outcome=outcome,
            measured=k / n,
            interval=interval,
            witness=witness,
            reason=why(outcome, found, n, low, high),
        )

    vary = None if within is None else (lambda e: {"predicted": min(max(predicted * (1 + e), 0.0), 1.0)})
    verdict = judge(check, arguments, twin, vary=vary, null=as_null("share", null, arguments, "successes"))
    distance = None if within is None else rival_distance("predicted", predicted, twin)
    return out_of_reach(verdict, twin, distance, within)


def _unpaired(a: np.ndarray, b: np.ndarray, error: float) -> Located:
    estimate = float(b.mean() - a.mean())
    if known(a) and known(b):
        return Located(estimate, (estimate, estimate))
    if min(a.size, b.size) < 2 or not (has_spread(a) or has_spread(b)):
        return Located(estimate, (-math.inf, math.inf), "a sample of one value, or of equal values, has no spread")
    low, high = difference_interval(a, b, 1 - error)
    half = skew_guard(min(a.size, b.size), 1 - error) * (high - low) / 2
    return Located(estimate, (estimate - half, estimate + half))


def _region(name: str, value: float, within: float | None) -> tuple[float, float]:
    if name == "at_least":
        return value, 1.0
    if name == "at_most":
        return 0.0, value
    half = margin("within", within)
    return value - half, value + half


def _unattainable(n: int, low: float, high: float, error: float) -> str:
    """Why no outcome of n trials could hold, and the least number (up to 100,000) that could; empty if one can."""

    def can(m: int) -> bool:
        return any(
            decide(clopper_pearson(k, m, 1 - error), low, high) is Outcome.HOLDS
            for k in {0, m, *(min(max(round(m * (low + high) / 2) + i, 0), m) for i in (-1, 0, 1))}
        )

    if can(n):
        return ""
    enough = next((m for m in _doubling(n) if can(m)), None)
    if enough is None:
        return f"no outcome of n={n} could hold, nor of 100,000"
    few, many = n, enough  # can(few) is false, can(many) true
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if can(middle) else (middle, many)
    return f"no outcome of n={n} could hold at error {error:.2g}; it takes {many}"


def _doubling(n: int) -> list[int]:
    return [n * 2**i for i in range(1, 18) if n * 2**i <= 100_000]
