"""Every score map by its name."""

from __future__ import annotations

import functools
import math

from torch import Tensor

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
from attnlab.kernels.attention.scores.formula.map import FormulaMap
from attnlab.kernels.attention.scores.rows import Clipped, Entmax, Hardmax, Standardised
from attnlab.kernels.suggestions import did_you_mean

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


def score_map(score: str | ScoreMap, *, divide: str | None = None, plus: float = 0.0) -> ScoreMap:
    r"""The score map of that name, the object itself, or with ``divide`` the one that a formula in the logit s gives.

    .. math:: W_j = \frac{f(s_j)}{\text{plus} + \sum_l g(s_l)}, \qquad \text{score_map("log(1 + exp(s))", divide="sum")}.

    ``divide``: "sum" (g = f), "absolute" (g = \|f\|), "count" (the number of visible keys), "one" (nothing), or the formula of
    g. ``plus``: a constant, at least 0. Formulas are made of s, numbers, pi, e, + - * / \*\*, and exp log sqrt tanh sinh cosh
    abs sign max min expm1 log1p relu sigmoid softplus. A stable form, all derivatives and the code of the fast paths are
    derived, and checked against exact values of the formula before the map is returned; a formula that has no value at some
    logit, that overflows, whose normaliser can vanish or whose digits are lost is an error that says so. At s = 0 a jump
    has the value that the formula gives and slope 0, a symmetric kink has slope 0; other kinks have the slopes of their
    left side.

    >>> score_map("relu(s)**2", divide="sum")
    FormulaMap(formula='relu(s)**2', divide='sum', plus=0.0)
    """
    if divide is not None:
        return _formula_map(score, divide, plus)
    if isinstance(score, ScoreMap):
        return score
    if isinstance(score, str) and score in SCORE_MAPS:
        return SCORE_MAPS[score]
    if isinstance(score, str) and not score.isidentifier():
        raise ValueError(
            f"score={score!r} is not the name of a score map; for a formula say what divides it: "
            f"score=score_map({score!r}, divide='sum')"
        )
    hint = did_you_mean(str(score), SCORE_MAPS)
    raise ValueError(f"score={score!r} is not a score map{hint} Known: {', '.join(SCORE_MAPS)}, or a ScoreMap object")


_OURS = frozenset((FormulaMap, *map(type, SCORE_MAPS.values())))


def has_no_tensors(score: ScoreMap) -> bool:
    """Whether a map certainly depends on one logit row alone; a user's may hold numbers of other rows' problems."""
    return type(score) in _OURS and not isinstance(getattr(score, "sink", None), Tensor)


def holds_numbers_only(score: object) -> bool:
    """Whether a user's map is a frozen dataclass of numbers, names, tuples of such and maps like it: no tensor of its own."""
    if score is None or isinstance(score, (int, float, str)):
        return True
    if isinstance(score, tuple):
        return all(map(holds_numbers_only, score))
    if not isinstance(score, ScoreMap):
        return False
    settings = getattr(type(score), "__dataclass_params__", None)
    return settings is not None and settings.frozen and all(map(holds_numbers_only, vars(score).values()))


@functools.lru_cache(maxsize=256)
def _formula_map(formula: str, divide: str, plus: float) -> FormulaMap:
    from attnlab.kernels.attention.scores.formula.examine import examine

    if not (isinstance(plus, (int, float)) and 0 <= plus < math.inf):
        raise ValueError(f"plus={plus!r} must be a finite number, at least 0; it is added to the sum that divides")
    if plus > 0 and divide in ("count", "one"):
        raise ValueError(
            f"plus={plus!r} is added to a sum, and divide={divide!r} has none; use divide='sum' or 'absolute'"
        )
    found = FormulaMap(formula, divide, float(plus))
    examine(found)
    return found
