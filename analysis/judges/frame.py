"""What all judges share: checked inputs, the interval of what the claim speaks of, the decision, and the twin.

A judge is a check run twice: once with the claim's arguments and once with those of its twin, at the same confidence.
The claim is decided by one rule, :func:`decide`: the whole interval inside the claimed region HOLDS, the whole interval
outside is REFUTED, anything else is UNDECIDED. So every decision is right whenever the interval covers, and the twin,
judged from the same interval, costs no further error.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.statistics.intervals import (
    Interval,
    clopper_pearson,
    finite_array,
    finite_vector,
    guarded_mean_interval,
    has_spread,
    quantile_interval,
    two_groups,
)
from attnlab.analysis.statistics.sequences import bounded_mean_interval
from attnlab.analysis.verdicts.budget import Budget
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict, percent
from attnlab.analysis.verdicts.wording import draws_of, read_of

BLUNT = 0.05  # a verdict that cannot resolve this share of its prediction says why
WITNESS_VALUES = 64  # a witness lists the replicas' values up to this many

_SEEN: ContextVar[list[dict[str, Any]] | None] = ContextVar("attnlab_judged_arguments", default=None)
_RESOLVING: ContextVar[bool] = ContextVar("attnlab_resolving", default=True)


@dataclass(frozen=True)
class Located:
    """Where the quantity named by ``of`` lies: its estimate, its interval, and why it may be unusable (``trouble``).

    ``grouped``: the values lie in two groups far apart, which ``caution`` tells.
    """

    estimate: float
    interval: Interval
    trouble: str = ""
    caution: str = ""
    grouped: bool = False


def locate(values: np.ndarray, of: str, error: float, bounds: tuple[float, float] | None = None) -> Located:
    """Estimate and interval of the mean, median or quantile over replicas, or the range for ``every replica``.

    A mean of values with known ``bounds`` gets a betting interval, any other the guarded t interval; if the values lie in
    two groups far apart, it reaches over all of them.
    """
    kind, level = read_of(of)
    if kind == "every":
        return Located(float(np.mean(values)), (float(values.min()), float(values.max())))
    if values.size < 2:
        return Located(float(values[0]), (-math.inf, math.inf), "one value has no spread to judge by; use 8 or more")
    if kind == "mean":
        estimate = float(np.mean(values))
        if bounds is not None:
            interval = bounded_mean_interval(values, *bounds, 1 - error)
            if interval[0] <= interval[1]:
                return Located(estimate, interval)
            return Located(estimate, (-math.inf, math.inf), "no mean fits all values: they are not from one law")
        interval = guarded_mean_interval(values, 1 - error, draws_of(of))
        if not has_spread(values):
            return Located(
                estimate,
                (-math.inf, math.inf),
                f"all {values.size} values are equal: a t interval needs spread; if the value is "
                "deterministic, judge of='every replica'",
            )
        groups = two_groups(values)
        if groups is not None:
            caution = (
                f"{groups[0]} of {values.size} values lie {groups[1]:.3g} times the others' spread apart: a mean over two "
                "groups speaks of neither; judge the share of each, and the value given it"
            )
            return Located(
                estimate,
                (min(interval[0], float(values.min())), max(interval[1], float(values.max()))),
                caution=caution,
                grouped=True,
            )
        return Located(estimate, interval, caution=_skewed(values))
    interval = quantile_interval(values, level, 1 - error)
    trouble = ""
    if not all(map(math.isfinite, interval)):
        trouble = f"n={values.size} is too small for an interval of this quantile at error {error:.2g}"
    return Located(float(np.quantile(values, level)), interval, trouble)


def decide(interval: Interval, low: float, high: float) -> Outcome:
    """HOLDS if the interval lies inside [low, high], REFUTED if it lies wholly outside, otherwise UNDECIDED."""
    if low <= interval[0] and interval[1] <= high:
        return Outcome.HOLDS
    if interval[1] < low or interval[0] > high:
        return Outcome.REFUTED
    return Outcome.UNDECIDED


def decide_every(values: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> tuple[Outcome, np.ndarray]:
    """The same for the statement that every value at hand lies inside; also returns which do."""
    inside = (values >= low) & (values <= high)
    return (Outcome.HOLDS if inside.all() else Outcome.REFUTED), inside


def every_replica(
    blank: Verdict, values: np.ndarray, reference: np.ndarray, decided: tuple[Outcome, np.ndarray]
) -> Verdict:
    """The verdict on "every replica": a fact about the replicas at hand, with what it vouches for beyond them."""
    outcome, inside = decided
    low, _ = clopper_pearson(int(inside.sum()), inside.size, blank.confidence)
    reason = (
        f"{int(inside.sum())} of {inside.size} satisfy it; of all {blank.unit}s at least {low:.3g} do "
        f"(Clopper-Pearson, {blank.confidence:.6g})"
    )
    witness = None
    if outcome is Outcome.REFUTED:
        outside = np.flatnonzero(~inside)
        worst = int(outside[np.argmax(np.abs(values - reference)[outside])])
        witness = {
            "replica": worst,
            "value": float(values[worst]),
            "predicted": float(reference[worst]),
            "all_outside": [int(i) for i in outside],
        }
        reason = f"{blank.unit} {worst} has {values[worst]:.6g} against {reference[worst]:.6g}; {reason}"
    return replace(blank, outcome=outcome, witness=witness, reason=reason)


def why(outcome: Outcome, found: Located, n: int, low: float, high: float) -> str:
    """One line on why an interval did not decide, or decided against; ``low`` and ``high`` bound the claimed region."""
    if outcome is Outcome.HOLDS:
        return found.caution
    if outcome is Outcome.REFUTED:
        beyond = low - found.interval[1] if found.interval[1] < low else found.interval[0] - high
        side = "below" if found.interval[1] < low else "above"
        return "; ".join(filter(None, [f"the whole interval lies {side} the margin, by {beyond:.3g}", found.caution]))
    if found.trouble:
        return found.trouble
    if found.grouped:
        return found.caution
    half = (found.interval[1] - found.interval[0]) / 2
    room = min(abs(found.estimate - low), abs(found.estimate - high))
    more = f"; about {math.ceil(n * (half / room) ** 2)} would" if math.isfinite(half) and half < 100 * room else ""
    return f"n={n} does not decide: half-width {half:.3g}, {room:.3g} from the edge of the margin{more}"


def judge(
    check: Callable[..., Verdict],
    arguments: Mapping[str, Any],
    twin: Twin,
    *,
    vary: Callable[[float], Mapping[str, Any]] | None = None,
    null: Twin | None = None,
) -> Verdict:
    """Run the check on the claim, on its twin and on its null control; HOLDS needs both of them REFUTED.

    ``vary(e)`` gives the arguments of the prediction changed by the share e; from it comes what the data resolve. An
    UNDECIDED verdict of a check that drew from the error budget wants replicas, unless the check says otherwise.
    """
    seen = _SEEN.get()
    if seen is not None:
        seen.append(dict(arguments))
    verdict = check(**arguments)
    if isinstance(arguments.get("within"), Budget):
        verdict = replace(verdict, margin_from=str(arguments["within"]))
    try:
        rival = check(**{**arguments, **twin.arguments})
    except ValueError as error:
        raise ValueError(f"twin {twin.label!r}: {error}") from error
    verdict = verdict.with_twin(twin, rival.outcome)
    if null is not None:
        verdict = _with_null(verdict, null, check(**{**arguments, **null.arguments}))
    if verdict.outcome is Outcome.UNDECIDED and not verdict.wants and verdict.confidence is not None:
        verdict = replace(verdict, wants="replicas")
    if "mean" in verdict.of and verdict.n and verdict.confidence is not None:
        verdict = replace(verdict, unseen=1 - (1 - verdict.confidence) ** (1 / verdict.n))
    if not _RESOLVING.get():
        return verdict
    if vary is None or verdict.outcome in (Outcome.REFUTED, Outcome.VACUOUS):
        return verdict
    return with_resolution(verdict, resolution(lambda e: _refuted(check, {**arguments, **vary(e)})))


@contextmanager
def unresolved() -> Iterator[None]:
    """Judges called inside do not work out what they resolve: it takes some forty checks for each verdict."""
    token = _RESOLVING.set(False)
    try:
        yield
    finally:
        _RESOLVING.reset(token)


def resolving() -> bool:
    """Whether judges work out what they resolve."""
    return _RESOLVING.get()


@contextmanager
def watched() -> Iterator[list[dict[str, Any]]]:
    """The arguments of every judge called inside, in order: what was predicted, and what was measured."""
    seen: list[dict[str, Any]] = []
    token = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(token)


def resolution(refuted: Callable[[float], bool]) -> float:
    """The smallest e (to 1 %) for which both ``refuted(e)`` and ``refuted(-e)``; infinite if 100-fold changes pass."""

    def both(e: float) -> bool:
        return refuted(e) and refuted(-e)

    high = next((e for e in (1.0, 10.0, 100.0) if both(e)), math.inf)
    low = high / 10
    while math.isfinite(high) and low > 1e-16 and both(low):
        low, high = low / 10, low
    while math.isfinite(high) and high > 1.01 * low > 1e-16:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if both(middle) else (middle, high)
    return high


def with_resolution(verdict: Verdict, resolves: float) -> Verdict:
    """The verdict with what its data resolve; one that cannot resolve 5 % says what sets the limit, and what would help."""
    verdict = replace(verdict, resolves=resolves)
    if resolves <= BLUNT or verdict.outcome is not Outcome.HOLDS:
        return verdict
    return replace(verdict, reason="; ".join(filter(None, [verdict.reason, _blunt(verdict)])))


def changed(
    name: str, predicted: ArrayLike, scale: float | None, twin: Twin, kind: str = "mean"
) -> Callable[[float], dict[str, Any]]:
    """The argument ``name`` changed by a share e: p (1 + e), or p + e ``scale`` in a declared scale.

    A prediction that is zero everywhere changes in units of its twin's distance, if no scale is declared.
    """

    def vary(e: float) -> dict[str, Any]:
        p = np.asarray(predicted, dtype=np.float64)
        size = None if scale is None else margin("scale", scale)
        if size is None and not np.any(p):
            size = rival_distance(name, predicted, twin, kind)
        return {name: p * (1 + e) if size is None else p + e * size}

    return vary


def _refuted(check: Callable[..., Verdict], arguments: Mapping[str, Any]) -> bool:
    """Whether the check refutes these arguments; values that a prediction cannot have count as refuted."""
    try:
        return check(**arguments).outcome is Outcome.REFUTED
    except ValueError:
        return True


def _blunt(verdict: Verdict) -> str:
    """Why a verdict resolves so little: its margin, or its interval; and what would make it sharper."""
    share = percent(verdict.resolves)
    if verdict.margin is None or verdict.interval is None or not all(map(math.isfinite, verdict.interval)):
        return f"resolves {share} only"
    half = (verdict.interval[1] - verdict.interval[0]) / 2
    if half > verdict.margin:
        return (
            f"resolves {share} only: the half-width is {half:.2g} at margin {verdict.margin:.2g}; more replicas would"
        )
    return (
        f"resolves {share} only: the margin is {verdict.margin:.2g}, the half-width {half:.2g}; a smaller margin would"
    )


def as_null(judge_name: str, null: Any, arguments: Mapping[str, Any], data: str) -> Twin | None:
    """The null control, checked: it replaces the measured values by those of a run in which nothing is learnt."""
    if null is None:
        return None
    if not isinstance(null, Twin):
        null = Twin.of("nothing is learnt", **{data: null})
    for name in null.arguments:
        if name not in arguments:
            raise ValueError(
                f"the null control replaces {name!r}, which {judge_name} lacks; it has {', '.join(arguments)}"
            )
    return null


def _with_null(verdict: Verdict, null: Twin, seen: Verdict) -> Verdict:
    """HOLDS needs the null control REFUTED; else the claim is VACUOUS, and says which movement it needs."""
    verdict = replace(verdict, null=seen.outcome, null_label=null.label)
    if verdict.outcome is not Outcome.HOLDS or seen.outcome is Outcome.REFUTED:
        return verdict
    reason = f"the same check passes where {null.label}"
    if seen.interval is not None and seen.measured is not None and all(map(math.isfinite, seen.interval)):
        half = (seen.interval[1] - seen.interval[0]) / 2
        moved = abs(seen.measured - seen.predicted) if seen.relation == "in" else seen.measured
        needed = half + (seen.margin if seen.relation == "in" else abs(seen.predicted))
        reason += f", {moved:.3g} away from the prediction: a movement above {needed:.3g} is needed"
    return replace(verdict, outcome=Outcome.VACUOUS, reason=reason)


def as_twin(judge_name: str, twin: Any, arguments: Mapping[str, Any], shorthand: str | None) -> Twin:
    """The twin, checked: it replaces arguments that the judge has, by something else.

    A bare number or array is shorthand for replacing the argument named ``shorthand``.
    """
    if twin is None:
        raise TypeError(
            f"{judge_name} needs a twin: the nearest rival theory, which the same check must refute; "
            f"pass {_examples(shorthand, arguments)}"
        )
    if not isinstance(twin, Twin):
        twin = _from_shorthand(judge_name, twin, arguments, shorthand)
    for name in twin.arguments:
        if name not in arguments:
            near = difflib.get_close_matches(name, list(arguments), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"twin {twin.label!r} replaces {name!r}, but {judge_name} lets a twin replace only "
                f"{', '.join(arguments)}{hint}"
            )
    # successes may happen to be those of the rival, too: then the rival passes, and the verdict says so
    if all(np.asarray(value).dtype != bool and _same(arguments[name], value) for name, value in twin.arguments.items()):
        raise ValueError(
            f"twin {twin.label!r} replaces nothing: its {', '.join(twin.arguments)} equals the claim's "
            "own; name the nearest rival theory"
        )
    return twin


def finite_number(name: str, value: Any) -> float:
    """A finite float, or an error that names it."""
    if isinstance(value, (bool, np.bool_)) or np.ndim(value) != 0:
        raise ValueError(f"{name} must be one number, got {value!r}")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number!r}")
    return number


def margin(name: str, value: Any, *, zero: bool = False) -> float:
    """A margin chosen beforehand: finite and positive (or zero, where that means something)."""
    number = finite_number(name, value)
    if number < 0 or (number == 0 and not zero):
        raise ValueError(f"{name} must be {'>= 0' if zero else '> 0'}, got {number!r}; choose it before seeing data")
    return number


def replicas(name: str, values: ArrayLike) -> np.ndarray:
    """One finite number per replica, shape (replica,)."""
    return finite_vector(name, values)


def per_replica(name: str, value: ArrayLike, n: int) -> np.ndarray:
    """A number for all replicas, or one each, as shape (n,)."""
    x = finite_array(name, value)
    if x.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or one for each of the {n} replicas, got shape {x.shape}")
    return np.broadcast_to(x, (n,))


def nothing_to_judge(verdict: Verdict, unit: str) -> Verdict:
    """The verdict on no data at all: no replica meets the condition, so nothing could have refuted the claim."""
    return replace(verdict, outcome=Outcome.VACUOUS, n=0, reason=f"no {unit} to judge: the condition is never met")


def out_of_reach(verdict: Verdict, twin: Twin, distance: float | None) -> Verdict:
    """Says precisely when no data, or not these data, can tell an equivalence claim from its twin.

    ``distance`` is how far the twin's prediction lies from the claim's (None: it has no other prediction). Within the
    margin, data equal to the prediction could not refute the twin: VACUOUS, whatever n (INVALID, if the data were seen
    to fit both). Within twice the margin, values in the overlap decide nothing, and ``reason`` says so.
    """
    if verdict.twin_outcome is Outcome.REFUTED or verdict.outcome in (Outcome.REFUTED, Outcome.VACUOUS):
        return verdict
    if distance is None or verdict.margin is None:
        return verdict
    advice = f"choose within below {distance / 2:.4g}"
    if distance <= verdict.margin:
        outcome = Outcome.INVALID if verdict.outcome is Outcome.INVALID else Outcome.VACUOUS
        reason = (
            f"within={verdict.margin:.4g} reaches the twin at distance {distance:.4g}: even data equal to the "
            f"prediction could not tell it from its twin ({twin.label}); {advice}"
        )
        return replace(verdict, outcome=outcome, reason=reason, wants="")
    if distance <= 2 * verdict.margin:
        return replace(verdict, reason=f"{verdict.reason}; the margins of claim and twin overlap: {advice}")
    return verdict


def rival_distance(name: str, claim: Any, twin: Twin, kind: str = "mean") -> float | None:
    """How far the twin moves the argument ``name``, in the mean or for ``every`` in the largest entry."""
    if set(twin.arguments) != {name}:
        return None
    gap = np.asarray(twin.arguments[name], dtype=np.float64) - np.asarray(claim, dtype=np.float64)
    return float(np.max(np.abs(gap))) if kind == "every" else abs(float(np.mean(gap)))


def values_witness(values: np.ndarray, **more: Any) -> dict[str, Any]:
    """A plain record from which a refuted mean or quantile can be judged again."""
    if values.size <= WITNESS_VALUES:
        return {"values": values.tolist(), **more}
    return {"mean": float(np.mean(values)), "std": float(np.std(values, ddof=1)), "n": int(values.size), **more}


def _skewed(values: np.ndarray) -> str:
    """A caution if the sample skewness is beyond three standard errors of a normal sample's."""
    n = values.size
    if n < 3:
        return ""
    deviation = values - values.mean()
    deviation = deviation / np.max(np.abs(deviation))
    skewness = float(np.mean(deviation**3) / np.mean(deviation**2) ** 1.5) * math.sqrt(n * (n - 1)) / (n - 2)
    if abs(skewness) <= 3 * math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3))):
        return ""
    return f"skewness {skewness:.2g}: t intervals err more often than stated here, the median is safe"


def _from_shorthand(judge_name: str, value: Any, arguments: Mapping[str, Any], shorthand: str | None) -> Twin:
    if shorthand is None or isinstance(value, (bool, str)):
        raise TypeError(f"{judge_name} cannot read twin={value!r}; pass {_examples(shorthand, arguments)}")
    if callable(value):
        return Twin.of(f"{shorthand}={getattr(value, '__name__', 'rival')}", **{shorthand: value})
    x = np.asarray(value)
    if x.dtype.kind not in ("fiu" if x.ndim == 0 else "fiubc"):
        raise TypeError(f"{judge_name} cannot read twin={value!r}; pass {_examples(shorthand, arguments)}")
    label = f"{shorthand}={float(x):.6g}" if x.ndim == 0 else f"{shorthand} of shape {x.shape}"
    return Twin.of(label, **{shorthand: value})


def _examples(shorthand: str | None, arguments: Mapping[str, Any]) -> str:
    name = shorthand or next(iter(arguments))
    short = f"twin=<rival {shorthand}> or " if shorthand else ""
    return f'{short}twin=Twin.of("name of the rival", {name}=...)'


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if callable(a) or callable(b):
        return False
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))
