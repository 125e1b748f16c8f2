r"""What is lost without a head, and without two: single and paired ablation, to zero or to the mean.

Formula: drop_h = m - m(z_h replaced by 0 or by its mean over prompts and places); ``pair`` the same for two heads at once, and

.. math:: \text{backup}_{hg} = \mathrm{drop}_{hg} - \mathrm{drop}_h - \mathrm{drop}_g,

0 for heads whose effects add, positive where either can do the other's work. With a linear read-out the drop is z_h w exactly.

Null: a head whose output does not matter on average: drop 0. Student's test over prompts, one-sided.

Limit: a drop of (z_a + z_b) sd/sqrt(N).

Twin: single ablation of two heads that do the same: each drops nothing, the pair everything.

Sheet: instruments_maps 2, instruments_circuits 2 (I5); How Does Attention Work in Vision Transformers? (head importance).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable
from attnlab.analysis.instruments.readings import Run

AXES = ("head",)
BY = ("zero", "mean")


@dataclass(frozen=True, eq=False)
class Pruning:
    """A model, its prompts, ``metric(logits (prompt, token, word)) -> (prompt,)`` and heads (layer, head); ``pairs``: ablate
    twos, too."""

    run: Run
    inputs: Any
    metric: Callable[[np.ndarray], np.ndarray]
    heads: Sequence[tuple[int, int]]
    by: str = "zero"
    pairs: bool = False

    def __post_init__(self) -> None:
        if self.by not in BY:
            raise ValueError(f"by={self.by!r}; use one of {', '.join(BY)}")
        if not self.heads:
            raise ValueError("heads is empty; give at least one (layer, head)")


def measure(pruning: Pruning) -> dict[str, Reading]:
    """``drop`` (head,), tested against 0 from above; with ``pairs`` also ``pair`` and ``backup`` (pair,), of heads k < l in
    order."""
    before = pruning.metric(pruning.run(pruning.inputs, sites=("logits",))["logits"])
    single = np.stack([before - _without(pruning, [head]) for head in pruning.heads], -1)
    assumed = "prompts independent"
    made = {"drop": reading_of(single, "metric", AXES, assumed, null=0.0, tested=True)}
    if pruning.pairs:
        twos = list(itertools.combinations(range(len(pruning.heads)), 2))
        both = np.stack([before - _without(pruning, [pruning.heads[k] for k in two]) for two in twos], -1)
        apart = np.stack([single[:, list(two)].sum(-1) for two in twos], -1)
        made["pair"] = reading_of(both, "metric", ("pair",), assumed, null=0.0, tested=True)
        made["backup"] = reading_of(both - apart, "metric", ("pair",), assumed, null=0.0, tested=True)
    return made


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Drop by head with its interval, zero line and limit."""
    return figure_of_entries(
        readings["drop"], "drop", "head, in the order given", "What the metric loses without each head"
    )


def _without(pruning: Pruning, heads: Sequence[tuple[int, int]]) -> np.ndarray:
    def mean(z: np.ndarray) -> np.ndarray:
        return np.broadcast_to(z.mean((0, 1)), z.shape).copy()

    put = np.zeros_like if pruning.by == "zero" else mean
    replace = {f"L{layer}.H{head}.z": put for layer, head in heads}
    return pruning.metric(pruning.run(pruning.inputs, sites=("logits",), replace=replace)["logits"])


_N, _HEADS, _SD = 12, 40, 1.0


def _linear(
    inputs: np.ndarray, sites: Sequence[str] = (), replace: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Head outputs are the inputs (prompt, head); the logit is their sum."""
    z = inputs.copy()
    for name, given in (replace or {}).items():
        at = int(name.split(".")[1][1:])
        z[:, at] = given(z[:, at, None, None])[:, 0, 0]
    return {"logits": z.sum(1)[:, None, None]}


def _either(
    inputs: np.ndarray, sites: Sequence[str] = (), replace: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """The same, but heads 2k and 2k + 1 do one work: the larger of the two counts."""
    z = inputs.copy()
    for name in replace or {}:
        z[:, int(name.split(".")[1][1:])] = 0
    return {"logits": np.maximum(z[:, ::2], z[:, 1::2]).sum(1)[:, None, None]}


def _first(logits: np.ndarray) -> np.ndarray:
    return logits[:, -1, 0]


def _world(rng: np.random.Generator, strength: float) -> Pruning:
    """Independent heads that bring ``strength`` to the metric on average, with noise over prompts."""
    z = strength + _SD * rng.standard_normal((_N, _HEADS))
    return Pruning(_linear, z, _first, [(0, head) for head in range(_HEADS)])


def _one_of_two(rng: np.random.Generator) -> np.ndarray:
    """The rival: single drops of heads in pairs that bring 1 together; the truth is what the pair brings."""
    z = np.repeat(1 + 0.1 * rng.standard_normal((_N, 4)), 2, axis=1)
    return measure(Pruning(_either, z, _first, [(0, head) for head in range(8)]))["drop"].value


INSTRUMENT = Instrument(
    measure=measure,
    main="drop",
    needs=(),
    nulls={"heads of noise": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.3, 1.0, 3.0),
    limit=float(detectable(_SD, _N)),
    rivals=(Rival("single ablation of heads in pairs", "value", _one_of_two, 1.0),),
    figure=figure,
    sheet="instruments_maps 2, instruments_circuits 2",
)
