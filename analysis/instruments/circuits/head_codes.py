r"""Which heads say something on positive prompts that they never say on negative ones: integer codes of heads, and their null.

Formula: a head's output on a prompt becomes the code argmax_k ReLU(W z + b)_k of a sparse autoencoder (:func:`codes_of`), and

.. math:: \text{score}_h = \text{share of positive prompts whose code of } h \text{ occurs in no negative prompt}, \qquad
          E\, \text{score} = \sum_k p_k (1 - p_k)^{n_{neg}}

for codes that do not know the label, of frequencies p_k: many codes per head make any head score. Beside it stands
:func:`mean_gap`, ||mean of positives - mean of negatives||, the baseline that every finder of heads must beat.

Null: labels permuted over prompts, the codes kept: p is the share of :data:`SHUFFLES` permutations that score as high, with
the one that was seen; for one head that is the codes' own permutation law.

Limit: a share of .74 of the positives with a code of their own, among 24 and 24 prompts with 24 codes, by simulation: no
closed form. Heads of few codes are found at much smaller shares.

Twin: the score without its null (a third of it is chance at 24 codes and 24 negatives); a head that carries the signal and
acts on nothing scores like one of the circuit: correlation is no cause.

Sheet: instruments_circuits 4; Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language Models
(2405.12522).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.over_prompts import POWER, interval

AXES = ("head",)
SHUFFLES = 199


@dataclass(frozen=True, eq=False)
class Codes:
    """Codes (prompt, head), whole numbers from 0, and labels (prompt,), True on the positive prompts."""

    codes: np.ndarray
    positive: np.ndarray

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.dtype.kind not in "iu" or self.codes.min() < 0:
            raise ValueError(
                f"codes must be whole numbers from 0, (prompt, head), got {self.codes.dtype} {self.codes.shape}"
            )
        if self.positive.dtype != bool or self.positive.shape != self.codes.shape[:1]:
            raise ValueError(f"positive must be bool (prompt,), got {self.positive.dtype} {self.positive.shape}")
        if min(self.positive.sum(), (~self.positive).sum()) < 2:
            raise ValueError("there must be two positive and two negative prompts at least")


def measure(made: Codes) -> dict[str, Reading]:
    """``score`` (head,) with its permutation p; null value and sd are the formula's and the permutations'.

    The interval is over positive prompts, given the negative ones.
    """
    n_codes = int(made.codes.max()) + 1
    one_hot = (made.codes.T[:, :, None] == np.arange(n_codes)).astype(np.float64)  # (head, prompt, code)
    rng = np.random.default_rng(len(made.positive))
    labels = np.stack([made.positive, *(rng.permutation(made.positive) for _ in range(SHUFFLES))], -1)
    score = _scores(one_hot, labels)
    seen = score[:, 0]
    p = (1 + (score[:, 1:] >= seen[:, None] - 1e-12).sum(-1)) / (1 + SHUFFLES)
    frequency, n_negative = one_hot.mean(1), int((~made.positive).sum())
    null = (frequency * (1 - frequency) ** n_negative).sum(-1)
    alone = _alone(made)
    low, high = interval(alone)
    sd = score[:, 1:].std(-1)
    found = np.sort(score[:, 1:], -1)[:, int(0.95 * SHUFFLES)] + float(special.ndtri(POWER)) * sd
    assumed = "prompts exchangeable between the labels without the effect"
    n = len(made.positive)
    return {"score": Reading(seen, "of the positives", AXES, low, high, null, sd, p, n, found, assumed, alone)}


def codes_of(z: np.ndarray, width: int = 50, steps: int = 250, seed: int = 0) -> np.ndarray:
    """Codes (prompt, head) of head outputs at the last token, z (prompt, head, head_dim), by one sparse autoencoder for all
    heads.

    ``width`` latents, ReLU, L1 weight .01, Adam of rate .01 from a random start. The outputs are scaled to mean square 1
    first.
    """
    if z.ndim != 3 or not np.isfinite(z).all():
        raise ValueError(f"z must be finite, (prompt, head, head_dim), got shape {z.shape}")
    x = z.reshape(-1, z.shape[-1]) / np.sqrt((z**2).mean())
    rng = np.random.default_rng(seed)
    dim = x.shape[1]
    theta = [
        rng.standard_normal((dim, width)) / dim**0.5,
        np.zeros(width),
        rng.standard_normal((width, dim)) / width**0.5,
        np.zeros(dim),
    ]
    moments = [(np.zeros_like(t), np.zeros_like(t)) for t in theta]
    for step in range(1, steps + 1):
        w, b, v, c = theta
        latent = np.maximum(x @ w + b, 0.0)
        off = 2 * (latent @ v + c - x) / x.size
        into = (off @ v.T + 0.01 / latent.size) * (latent > 0)
        slopes = (x.T @ into, into.sum(0), latent.T @ off, off.sum(0))
        for k, g in enumerate(slopes):
            first, second = 0.9 * moments[k][0] + 0.1 * g, 0.999 * moments[k][1] + 0.001 * g**2
            moments[k] = (first, second)
            theta[k] = theta[k] - 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    latent = np.maximum(x @ theta[0] + theta[1], 0.0)
    return latent.argmax(-1).reshape(z.shape[:2])


def mean_gap(z: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """The baseline, (head,): norm of the difference of the means of z (prompt, head, head_dim) over positive and negative
    prompts."""
    return np.linalg.norm(z[positive].mean(0) - z[~positive].mean(0), axis=-1)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Score by head with its interval, the null of its codes and the limit."""
    return figure_of_entries(
        readings["score"], "score", "head", "Positive prompts with a code that no negative one has"
    )


def _scores(one_hot: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Scores (head, labelling) of one-hot codes (head, prompt, code) under labellings (prompt, labelling)."""
    codes = np.swapaxes(one_hot, -1, -2)
    inside, outside = codes @ labels, codes @ ~labels
    return (inside * (outside == 0)).sum(1) / labels.sum(0)


def _alone(made: Codes) -> np.ndarray:
    """Whether the code of a positive prompt occurs in no negative one, (positive prompt, head)."""
    inside, outside = made.codes[made.positive], made.codes[~made.positive]
    return (inside[:, None] != outside[None]).all(1).astype(np.float64)


_N, _HEADS, _CODES = 24, 40, 24


def _world(rng: np.random.Generator, share: float) -> Codes:
    """24 codes, all alike; a positive prompt has one of 24 others, which negative ones never have, with probability ``share``."""
    codes = rng.integers(_CODES, size=(2 * _N, _HEADS))
    positive = np.arange(2 * _N) < _N
    own = positive[:, None] & (rng.random(codes.shape) < share)
    return Codes(np.where(own, codes + _CODES, codes), positive)


def _law(share: float) -> float:
    return share + (1 - share) * (1 - 1 / _CODES) ** _N


INSTRUMENT = Instrument(
    measure=measure,
    main="score",
    needs=(),
    nulls={"codes alike": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=_law,
    strengths=(0.2, 0.5, 0.9),
    limit=0.74,  # power .80: 2000 heads at .70 and .75 give .70 and .83
    rivals=(Rival("the score without its null", "value", lambda rng: measure(_world(rng, 0.0))["score"].value, 0.0),),
    figure=figure,
    sheet="instruments_circuits 4",
    no_interval="it is given the negative prompts, which the law is not",
)
