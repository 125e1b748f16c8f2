"""Every score map by its name."""

from __future__ import annotations

import difflib

from attnlab.kernels.attention.scores.f_over_g import (
    Cosine,
    Linear,
    Power,
    ReLU,
    ScoreMap,
    Sigmoid,
    Signed,
    Softmax,
    Softpick,
    Softplus,
)
from attnlab.kernels.attention.scores.rows import Clipped, Entmax, Hardmax, Standardised

#: Every score map that ``attention(score="...")`` knows by name, with its default parameters.
SCORE_MAPS: dict[str, ScoreMap] = {
    "softmax": Softmax(),
    "softmax_plus_one": Softmax(sink=0.0),
    "softpick": Softpick(),
    "sigmoid": Sigmoid(),
    "linear": Linear(),
    "relu": ReLU(),
    "power": Power(),
    "relu_power": Power(rectified=True),
    "softplus": Softplus(),
    "signed": Signed(),
    "cosine": Cosine(),
    "clipped": Clipped(),
    "hardmax": Hardmax(),
    "average_hard": Hardmax(ties="average"),
    "entmax": Entmax(),
    "sparsemax": Entmax(alpha=2.0),
    "standardised": Standardised(),
}


def score_map(score: str | ScoreMap) -> ScoreMap:
    """The score map of that name, or the object itself; an unknown name is an error with the nearest known one."""
    if isinstance(score, ScoreMap):
        return score
    if isinstance(score, str) and score in SCORE_MAPS:
        return SCORE_MAPS[score]
    near = difflib.get_close_matches(str(score), SCORE_MAPS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"score={score!r} is not a score map{hint} Known: {', '.join(SCORE_MAPS)}, or a ScoreMap object")
