r"""Does a model rely on a token, whatever its attention claims: how often the prediction flips when the token is swapped.

Formula: flip rate = share of prompts whose prediction changes when the token is replaced by its opposite; ``claimed`` is the
attention mass on it. Attention mass is a gauge: for one pooled attention, :func:`regauge` moves it to any eps and changes
neither the output nor any contribution c_j = a_j v_j . w,

.. math:: a'_{imp} = \epsilon, \quad a'_j = a_j \frac{1 - \epsilon}{1 - a_{imp}}, \quad v'_j = v_j \frac{a_j}{a'_j}.

With a contextual encoder the information can sit elsewhere, and contributions are deceived, too: only swaps of the *input*
remain.

Null: a token that matters in at most the share ``floor`` of the prompts (default .05). Exact binomial test.

Limit: the flip rate that the binomial test finds with 80 %; 0 flips among n exclude rates above 1 - .05^(1/n).

Twin: the attention mass; and contributions of a model of two classes that codes one class by absence.

Sheet: instruments_explanations 1; Learning to Deceive with Attention-Based Explanations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_trials import detectable_share, share_of

AXES = ("token",)
FLOOR = 0.05


@dataclass(frozen=True, eq=False)
class Swaps:
    """``predict(inputs (prompt, ...)) -> (prompt,)`` labels, the inputs, and the same inputs with one token swapped, per
    token.

    ``swapped`` (token, prompt, ...); ``claimed`` (prompt, token): attention mass on each, or None. ``floor``: see the null.
    """

    predict: Callable[[np.ndarray], np.ndarray]
    inputs: np.ndarray
    swapped: np.ndarray
    claimed: np.ndarray | None = None
    floor: float = FLOOR

    def __post_init__(self) -> None:
        if self.swapped.shape[1:] != self.inputs.shape:
            raise ValueError(
                f"swapped must be (token, *inputs.shape), got {self.swapped.shape} for inputs {self.inputs.shape}"
            )
        if (self.swapped == self.inputs).reshape(*self.swapped.shape[:2], -1).all(-1).any():
            raise ValueError("a swapped input equals the input, so nothing was swapped; use another token there")
        wanted = (len(self.inputs), len(self.swapped))
        if self.claimed is not None and (self.claimed.shape != wanted or (self.claimed < 0).any()):
            raise ValueError(f"claimed must be weights of shape {wanted}, at least 0, got {self.claimed.shape}")


def measure(swaps: Swaps) -> dict[str, Reading]:
    """``flips`` (token,), tested against ``floor``, and ``claimed`` (token,) if given, with a t interval over prompts."""
    before = swaps.predict(swaps.inputs)
    flips = np.stack([swaps.predict(each) != before for each in swaps.swapped], -1)
    assumed = "prompts independent; a swap changes the one token alone"
    made = {"flips": share_of(flips, AXES, assumed, swaps.floor)}
    if swaps.claimed is not None:
        made["claimed"] = reading_of(swaps.claimed.astype(np.float64), "", AXES, assumed)
    return made


def deception(flips: float, claimed: float, honest: float) -> float:
    """Index in [0, 1]: reliance times the part of the honest mass that is no longer claimed, flips (1 - claimed/honest)."""
    if not 0 < honest <= 1:
        raise ValueError(f"honest must lie in (0, 1], got {honest!r}: the mass that an undeceiving model puts there")
    return flips * max(0.0, 1 - claimed / honest)


def contributions(a: np.ndarray, v: np.ndarray, w: np.ndarray) -> np.ndarray:
    """a_j v_j . w of every token, (..., token): weights (..., token), values (..., token, dim), read-out (dim,)."""
    return a * (v @ w)


def regauge(a: np.ndarray, v: np.ndarray, marked: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights with mass ``eps`` on the marked tokens and the values that keep every contribution: (token,), (token, dim).

    The values of the marked tokens grow by a_imp/eps: deception shows in their norms, where tokens are not mixed before.
    """
    mass = float(a[marked].sum())
    if not (0 < eps < 1 and 0 < mass < 1):
        raise ValueError(f"eps and the marked mass must lie in (0, 1), got eps={eps!r}, mass {mass:.3g}")
    new = np.where(marked, a * eps / mass, a * (1 - eps) / (1 - mass))
    return new, v * (a / new)[:, None]


def excluded_rate(n: int, alpha: float = 0.05) -> float:
    """The flip rate above which 0 flips among n prompts have a chance below alpha: 1 - alpha^(1/n)."""
    return 1 - float(alpha ** (1 / n))


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Flip rate by token with its exact interval, the floor and the limit."""
    return figure_of_entries(
        readings["flips"], "flip rate", "token", "How often a swap changes the prediction", "95 % exact"
    )


_N, _TOKENS = 60, 40


def _parity(inputs: np.ndarray) -> np.ndarray:
    """A model that adds up the bits of the tokens that matter, modulo 2: inputs (prompt, token, (bit, matters))."""
    return (inputs[..., 0] * inputs[..., 1]).sum(-1) % 2


def _world(rng: np.random.Generator, more: float) -> Swaps:
    """Every token matters in each prompt with probability floor + more; attention is even, so it claims 1/tokens."""
    bits = rng.integers(2, size=(_N, _TOKENS))
    matters = (rng.random((_N, _TOKENS)) < FLOOR + more).astype(int)
    inputs = np.stack([bits, matters], -1)
    swapped = np.repeat(inputs[None], _TOKENS, 0)
    at = np.arange(_TOKENS)
    swapped[at, :, at, 0] = 1 - swapped[at, :, at, 0]
    return Swaps(_parity, inputs, swapped, np.full((_N, _TOKENS), 1 / _TOKENS))


INSTRUMENT = Instrument(
    measure=measure,
    main="flips",
    needs=(),
    nulls={"tokens at the floor": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: FLOOR + strength,
    strengths=(0.1, 0.4, 0.9),
    limit=detectable_share(_N, FLOOR) - FLOOR,
    rivals=(Rival("the attention mass", "value", lambda rng: measure(_world(rng, 0.4))["claimed"].value, FLOOR + 0.4),),
    figure=figure,
    sheet="instruments_explanations 1",
)
