"""Does training settle at the predicted value? The judge of limits in training time, which a run can only approach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from attnlab.analysis.judges.arguments import as_null, as_twin, margin, per_replica
from attnlab.analysis.judges.frame import decide, judge, nothing_to_judge, out_of_reach, values_witness, why
from attnlab.analysis.judges.located import locate
from attnlab.analysis.judges.resolution import changed, rival_distance
from attnlab.analysis.statistics.intervals import finite_array, finite_mean
from attnlab.analysis.verdicts.ledger import draw
from attnlab.analysis.verdicts.verdict import Outcome, Twin, Verdict
from attnlab.analysis.verdicts.wording import read_of

PATIENCE = 10  # doublings of the training time that a curve on its way is still given


def settles(
    steps: Sequence[float] | np.ndarray,
    curves: ArrayLike,
    predicted: ArrayLike,
    *,
    within: float,
    twin: Twin | ArrayLike,
    of: str = "mean over replicas",
    unit: str = "replica",
    confidence: float | None = None,
    scale: float | None = None,
    null: Twin | ArrayLike | None = None,
) -> Verdict:
    r"""A quantity tends to its prediction as training goes on; judged at the last step.

    .. math:: \text{HOLDS} \iff \text{the interval of the mean or median at the last step lies in } [p - w, p + w].

    A last value outside the margin refutes a *limit* only if the curve has stopped approaching it. With D(T) the mean
    distance to the prediction at step T, the claim is REFUTED if the interval at the last step lies wholly outside, and
    if 10 more doublings of the training time (a thousand times as long) at the mean pace of the last one, D(T/2) - D(T),
    would not bring it to the margin; otherwise it is UNDECIDED. So the rule can turn REFUTED into UNDECIDED, and never
    anything into HOLDS. The twin is judged by the same rule.

    Args:
        of: ``"mean over replicas"``, or ``"median over replicas"`` for distances and other skewed quantities.
        steps: training steps of the records, increasing, shape (record,).
        curves: shape (replica, record), finite.
        predicted: one number, or one per replica.
        within: the margin, chosen beforehand.
        twin: a rival prediction, or ``Twin.of(label, predicted=...)`` or ``Twin.of(label, curves=...)``.
        scale: as in :func:`attnlab.analysis.agrees`.
        null: the null control, ``frozen(curves)``: the curves stopped at their start, which the same check must refute.
    """
    arguments = {"steps": steps, "curves": curves, "predicted": predicted, "within": within}
    twin = as_twin("settles", twin, arguments, "predicted")
    if read_of(of)[0] == "every":
        raise ValueError(f"of={of!r}: a limit is judged of 'mean over replicas' or 'median over replicas'")
    error = draw("settles", confidence)

    def check(steps: ArrayLike, curves: ArrayLike, predicted: ArrayLike, within: float) -> Verdict:
        t, y = finite_array("steps", steps), finite_array("curves", curves)
        if t.ndim != 1 or t.size < 2 or np.any(np.diff(t) <= 0) or y.ndim != 2 or y.shape[1:] != t.shape:
            raise ValueError(
                f"curves must have shape (replica, record) with one increasing step per record, got "
                f"curves {y.shape} and steps {t.shape}"
            )
        p, w = per_replica("predicted", predicted, len(y)), margin("within", within)
        blank = Verdict(
            Outcome.UNDECIDED,
            "limit in training time",
            of=of,
            margin=w,
            confidence=1 - error,
            n=len(y),
            unit=unit,
            relation="in",
        )
        if len(y) == 0:
            return nothing_to_judge(blank, unit)
        last, half = y[:, -1] - p, y[:, np.searchsorted(t, t[-1] / 2, side="right") - 1] - p
        found, centre = locate(last, of, error), finite_mean(p)
        blank = replace(
            blank,
            predicted=centre,
            measured=centre + found.estimate,
            interval=(centre + found.interval[0], centre + found.interval[1]),
        )
        outcome = decide(found.interval, -w, w)
        if outcome is not Outcome.REFUTED:
            return replace(blank, outcome=outcome, reason=why(outcome, found, last.size, -w, w))
        centred = np.median if read_of(of)[0] == "quantile" else np.mean
        moved = float(centred(np.abs(half) - np.abs(last)))
        remaining = abs(found.estimate) - w
        if PATIENCE * moved >= remaining:
            return replace(
                blank,
                outcome=Outcome.UNDECIDED,
                reason=f"at step {t[-1]:.0f} still {remaining:.3g} outside the margin and moving: the last "
                f"doubling of the time brought it nearer by {moved:.3g}",
                wants="training",
            )
        return replace(
            blank,
            outcome=outcome,
            witness=values_witness(last, predicted=0.0, within=w),
            reason=f"{why(outcome, found, last.size, -w, w)}; it has stopped approaching the prediction",
        )

    verdict = judge(
        check,
        arguments,
        twin,
        vary=changed("predicted", predicted, scale, twin),
        null=as_null("settles", null, arguments, "curves"),
    )
    return out_of_reach(verdict, twin, rival_distance("predicted", predicted, twin), within)
