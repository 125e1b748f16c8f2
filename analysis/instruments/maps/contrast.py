r"""Does dividing a task's map by a general one bring out the signal: the contrast of two maps, and how well it ranks marked
tokens.

Formula: S_j = A_task,j / (A_general,j + lambda), lambda = c/n, and its area under the curve: the chance that a marked token
has the larger
value than another, ties counting half. ``raw`` is the same of the task's map alone.

Null: no signal: area 1/2, sd sqrt((n_1 + n_2 + 1)/(12 n_1 n_2)) per prompt. The test is Student's over prompts, one-sided.

Limit: an area of 1/2 + (z_a + z_b) sd/sqrt(N). For log-normal images of sd 1, signal g on the marked tokens and independent
map noise of sd
sigma on both maps,

.. math:: \mathrm{AUC} = \Phi\Bigl(\frac{\ln g}{2\sigma}\Bigr), \qquad
          \mathrm{AUC}_{raw} = \Phi\Bigl(\frac{\ln g}{\sqrt{2 + 2\sigma^2}}\Bigr) \qquad (\lambda = 0),

so dividing pays for sigma < 1 only: beyond it the contrast hurts.

Twin: the raw map; lambda = .1 at 196 tokens, which shrinks a typical token by .049 and leaves the raw map; subtracting where
noise multiplies.

Sheet: instruments_maps 6; Focusing by Contrastive Attention (CARVE).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import detectable

AXES = ("head",)


@dataclass(frozen=True, eq=False)
class TwoMaps:
    """Weights of a task's query and of a general one, (prompt, head, token), positive, and the marked tokens (prompt, token).

    ``share`` is c: lambda = c/n.
    """

    task: np.ndarray
    general: np.ndarray
    marked: np.ndarray
    share: float = 0.05

    def __post_init__(self) -> None:
        if self.task.ndim != 3 or self.task.shape != self.general.shape:
            raise ValueError(
                f"task and general must be (prompt, head, token), got {self.task.shape}, {self.general.shape}"
            )
        if self.marked.dtype != bool or self.marked.shape != (self.task.shape[0], self.task.shape[2]):
            raise ValueError(f"marked must be bool (prompt, token), got {self.marked.dtype} {self.marked.shape}")
        for name in ("task", "general"):
            if not (np.isfinite(getattr(self, name)).all() and (getattr(self, name) >= 0).all()):
                raise ValueError(f"{name} has weights that are negative or not finite")
        if not (self.marked.any(1) & ~self.marked.all(1)).all():
            raise ValueError("a prompt has no marked token, or nothing else; leave it out")
        if not self.share >= 0 or (self.share == 0 and not (self.general > 0).all()):
            raise ValueError(f"share={self.share!r} must be positive where general holds zeros, and never negative")


def measure(maps: TwoMaps) -> dict[str, Reading]:
    """``area`` of the contrast and ``raw`` of the task's map, (head,), tested against 1/2, and ``gain``, their paired
    difference."""
    contrast = maps.task / (maps.general + maps.share / maps.task.shape[-1])
    area, raw = _areas(contrast, maps.marked), _areas(maps.task, maps.marked)
    assumed = "marked tokens exchangeable with the others without a signal; prompts independent"
    return {
        "area": reading_of(area, "", AXES, assumed, null=0.5, tested=True),
        "raw": reading_of(raw, "", AXES, assumed, null=0.5, tested=True),
        "gain": reading_of(area - raw, "", AXES, assumed, null=0.0, tested=True),
    }


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's area with interval, 1/2 and the limit."""
    area = readings["area"]
    cut = {name: getattr(area, name)[None] for name in ("value", "low", "high", "null_mean", "null_sd", "p", "limit")}
    one = Reading(**{**area.__dict__, **cut, "axes": ("layer", "head"), "values": area.values[:, None]})
    return figure_of_heads(one, "area under the curve", "How well the contrast ranks the marked tokens, by head")


def _areas(values: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Rank-sum areas, (prompt, head)."""
    from scipy.stats import rankdata  # a second of imports that nobody else here needs

    ranks = rankdata(values, axis=-1)
    n_marked = marked.sum(-1)[:, None]
    total = (ranks * marked[:, None]).sum(-1)
    return (total - n_marked * (n_marked + 1) / 2) / (n_marked * (marked.shape[-1] - n_marked))


_PROMPTS, _HEADS, _N, _MARKED, _SIGMA = 12, 80, 60, 8, 0.5


def _world(rng: np.random.Generator, area: float, law: str = "iid") -> TwoMaps:
    """Images of log-sd 1 (heavier by a common factor per token in the second law), and a signal that makes the area."""
    gain = np.exp(2 * _SIGMA * special.ndtri(0.5 + area))
    shape = (_PROMPTS, _HEADS, _N)
    image = np.exp(rng.standard_normal(shape) + (rng.standard_normal((_PROMPTS, 1, _N)) if law == "columns" else 0.0))
    marked = rng.random((_PROMPTS, _N)).argsort(-1) < _MARKED
    task, general = (image * np.exp(_SIGMA * rng.standard_normal(shape)) for _ in range(2))
    task = np.where(marked[:, None], gain * task, task)
    return TwoMaps(task / task.sum(-1, keepdims=True), general / general.sum(-1, keepdims=True), marked, 0.0)


INSTRUMENT = Instrument(
    measure=measure,
    main="area",
    needs=(),
    nulls={"iid images": lambda rng: _world(rng, 0.0), "column effects": lambda rng: _world(rng, 0.0, "columns")},
    planted=_world,
    truth=lambda strength: 0.5 + strength,
    strengths=(0.05, 0.15, 0.3),
    limit=float(detectable(np.sqrt((_N + 1) / (12 * _MARKED * (_N - _MARKED))), _PROMPTS)),
    rivals=(
        Rival("the raw map", "value", lambda rng: measure(_world(rng, 0.3))["raw"].value, 0.8),
        Rival(
            "lambda far above 1/n",
            "value",
            lambda rng: (
                measure(TwoMaps(*(lambda m: (m.task, m.general, m.marked))(_world(rng, 0.3)), share=20.0))["area"].value
            ),
            0.8,
        ),
    ),
    figure=figure,
    sheet="instruments_maps 6",
)
