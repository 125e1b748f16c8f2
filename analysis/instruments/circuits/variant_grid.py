r"""What does a part of attention do for a task: variants of a model on several tasks, against the standard, paired by replica.

Formula: accuracies acc[v, t, r] of variant v on task t for replica r (same data, same initialisation), variant 0 the standard:

.. math:: \text{loss}_{vt} = \operatorname{mean}_r (acc_{0tr} - acc_{vtr}), \qquad
          \text{interaction}_{vt} = \text{loss}_{vt} - \operatorname{mean}_{t'} \text{loss}_{vt'}.

``rank`` is the mean rank of each variant over tasks, 1 the best.

Null: variants relabelled: loss 0. Student's test over the paired differences, one-sided.

Limit: a loss of (z_a + z_b) sd/sqrt(R), sd that of the paired differences; replicas share their data, so it is smaller than
sqrt2 times an accuracy's.

Twin: a task that no variant needs attention for (bag counting), where all pass; replicas taken as unpaired; the mean over
layouts, which hides that only one order of layers fails.

Sheet: deconstructing_attention, instruments_circuits 7; Deconstructing Attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable

AXES = ("variant", "task")


@dataclass(frozen=True, eq=False)
class Grid:
    """Accuracies (variant, task, replica) in [0, 1]; variant 0 is the standard, a layout counts as a variant of its own."""

    accuracy: np.ndarray

    def __post_init__(self) -> None:
        if self.accuracy.ndim != 3 or self.accuracy.shape[0] < 2:
            raise ValueError(
                f"accuracy must be (variant, task, replica) with two variants at least, got {self.accuracy.shape}"
            )
        if not (np.isfinite(self.accuracy).all() and (self.accuracy >= 0).all() and (self.accuracy <= 1).all()):
            raise ValueError("accuracies must lie in [0, 1]; a replica that failed is missing, not NaN: run it again")


def measure(grid: Grid) -> dict[str, Reading]:
    """``loss`` (tested) and ``interaction``, (variant after the standard, task), and ``rank`` (variant,), over replicas."""
    by_replica = np.moveaxis(grid.accuracy, -1, 0)  # (replica, variant, task)
    loss = by_replica[:, :1] - by_replica[:, 1:]
    assumed = "replicas independent, each with the same data for every variant"
    return {
        "loss": reading_of(loss, "accuracy", AXES, assumed, null=0.0, tested=True),
        "interaction": reading_of(loss - loss.mean(-1, keepdims=True), "accuracy", AXES, assumed, null=0.0),
        "rank": reading_of(_ranks(by_replica).mean(-1), "place", AXES[:1], assumed),
    }


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Loss of every variant on every task with its interval, zero line and limit; variants where layers stand elsewhere."""
    plate = figure_of_heads(readings["loss"], "loss", "Accuracy lost against the standard, by variant and task")
    n = readings["loss"].value.shape[0]
    per = readings["loss"].value.shape[1]
    plate[0].axes.set_xticks([per * (k + 0.5) - 0.5 for k in range(n)], [f"V{k + 1}" for k in range(n)])
    plate[0].labels(x="variant, tasks side by side")
    return plate


def _ranks(x: np.ndarray) -> np.ndarray:
    """Place of each variant, 1 the most accurate, ties sharing the mean place, (replica, variant, task)."""
    above = (x[:, None] > x[:, :, None]).sum(2)
    tied = (x[:, None] == x[:, :, None]).sum(2) - 1
    return 1 + above + tied / 2


_VARIANTS, _TASKS, _REPLICAS = 5, 8, 8
_SHARED, _OWN = 0.05, 0.02


def _world(rng: np.random.Generator, loss: float) -> Grid:
    """Accuracies around .6 with an effect of the replica's data on all variants and one of each run; all variants lose
    ``loss``."""
    data = _SHARED * rng.standard_normal((1, _TASKS, _REPLICAS))
    runs = _OWN * rng.standard_normal((_VARIANTS, _TASKS, _REPLICAS))
    made = 0.6 + data + runs - loss * (np.arange(_VARIANTS) > 0)[:, None, None]
    return Grid(np.clip(made, 0, 1))


def _own_standard(rng: np.random.Generator, loss: float) -> Grid:
    """The same with every variant against a standard of its own: one variant per grid, so that losses are independent."""
    return Grid(_world(rng, loss).accuracy[:2])


def _two_layouts(rng: np.random.Generator) -> np.ndarray:
    """The rival: the mean loss over two layouts, of which one loses .3 and the other nothing; the truth of the first is .3."""
    first, second = (measure(_own_standard(rng, loss))["loss"].value for loss in (0.3, 0.0))
    return (first + second).ravel() / 2


def _counting(rng: np.random.Generator) -> np.ndarray:
    return measure(_own_standard(rng, 0.0))["loss"].value


INSTRUMENT = Instrument(
    measure=measure,
    main="loss",
    needs=(),
    nulls={"variants relabelled": lambda rng: _own_standard(rng, 0.0)},
    planted=_own_standard,
    truth=lambda strength: strength,
    strengths=(0.02, 0.1, 0.3),
    limit=float(detectable(_OWN * 2**0.5, _REPLICAS)),
    rivals=(
        Rival("the mean over layouts", "value", _two_layouts, 0.3),
        Rival("a task that all variants pass", "told", _counting, 0.3),
    ),
    figure=figure,
    sheet="deconstructing_attention, instruments_circuits 7",
)
