"""Score maps: how logits become weights. One protocol, one class per map, names in the registry."""

from attnlab.kernels.attention.scores.f_over_g import (
    Cosine,
    FOverG,
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
from attnlab.kernels.attention.scores.registry import SCORE_MAPS, score_map
from attnlab.kernels.attention.scores.rows import Clipped, Entmax, Hardmax, Standardised

__all__ = [
    "SCORE_MAPS",
    "Clipped",
    "Cosine",
    "Entmax",
    "FOverG",
    "FormulaMap",
    "Hardmax",
    "Linear",
    "Power",
    "ReLU",
    "ScoreMap",
    "Sigmoid",
    "Signed",
    "Softmax",
    "Softpick",
    "Softplus",
    "Standardised",
    "score_map",
]
