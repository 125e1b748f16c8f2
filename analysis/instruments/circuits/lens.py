r"""At which depth a model knows its answer: the read-out put on every state of the residual stream (the logit lens).

Formula: logits_l = norm(h_l) W_U with the norm computed anew at every depth ("lens"). ``margin`` is the answer's logit minus
the mean of the
others, nats; ``probability`` the softmax's share of the answer. Freezing the scale of the final norm instead ("attribution")
is another
instrument: its parts add up, its probabilities are none.

Null: answers that have nothing to do with the states: margin 0, probability 1/V on average over words. The p value is exact:
the rank of
the answer among all V words is uniform, and ranks add up over prompts.

Limit: for logits of spread sigma over words, b = sqrt2 sigma Phi^-1(1/2 + (z_a + z_b)/sqrt(12 N)).

Twin: the other of the two norms (a state of half the final scale reads half the margin), and a last state that already is normed
(``hidden_states[-1]``), normed twice.

Sheet: instruments_circuits 6; VISIT: Visualizing and Interpreting the Semantic Information Flow of Transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.caption import describe
from attnlab.analysis.figures.curves import measurement, prediction
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import needs_prompts, rank_p
from attnlab.analysis.instruments.sinks.sink_strength import limit_of_ranks

AXES = ("depth",)


@dataclass(frozen=True, eq=False)
class Depths:
    """States of one token per prompt *before* the final norm, (prompt, depth, dim), depth 0 the embedding; W_U (dim, word).

    ``answers`` (prompt,): the right word. ``norm(states) -> states`` is the model's final norm with its weights (None: none).
    """

    states: np.ndarray
    unembed: np.ndarray
    answers: np.ndarray
    norm: Callable[[np.ndarray], np.ndarray] | None = None

    def __post_init__(self) -> None:
        if self.states.ndim != 3 or self.unembed.shape[:1] != self.states.shape[2:]:
            raise ValueError(
                f"states must be (prompt, depth, dim) and unembed (dim, word), got {self.states.shape}, {self.unembed.shape}"
            )
        if not np.isfinite(self.states).all():
            raise ValueError("states are not finite; a model that diverged?")
        answers = np.asarray(self.answers)
        if answers.shape != self.states.shape[:1] or answers.min() < 0 or answers.max() >= self.unembed.shape[1]:
            raise ValueError(
                f"answers must be (prompt,) of words 0 to {self.unembed.shape[1] - 1}, got shape {answers.shape}"
            )


def measure(depths: Depths) -> dict[str, Reading]:
    """``margin`` (nats, tested by ranks) and ``probability`` of the answer, by depth, with t intervals over prompts."""
    needs_prompts(len(depths.states))
    states = depths.states if depths.norm is None else depths.norm(depths.states)
    logits = states @ depths.unembed  # (prompt, depth, word)
    at = np.asarray(depths.answers)[:, None, None]
    right = np.take_along_axis(logits, at, -1)[..., 0]
    n_words = logits.shape[-1]
    margin = right - (logits.sum(-1) - right) / (n_words - 1)
    rank = (logits < right[..., None]).sum(-1) + 0.5 * ((logits == right[..., None]).sum(-1) - 1)
    p = rank_p(rank, np.full(len(logits), n_words))
    probability = np.take_along_axis(special.softmax(logits, -1), at, -1)[..., 0]
    assumed = "answers exchangeable among words without the effect; prompts independent"
    made = reading_of(margin, "nats", AXES, assumed, null=0.0, p=p)
    limit = limit_of_ranks(logits.std(-1).mean(0), len(logits))
    return {
        "margin": Reading(**{**made.__dict__, "limit": limit}),
        "probability": reading_of(probability, "", AXES, assumed, null=1 / n_words),
    }


def emergence(probability: Reading) -> int | None:
    """The first depth at which the answer's probability is surely above the middle between chance and the last depth's, or
    None."""
    middle = (probability.null_mean + probability.value[-1]) / 2
    above = np.flatnonzero(probability.low > middle)
    return int(above[0]) if above.size else None


def figure(readings: Mapping[str, Reading]) -> Plate:
    """The answer's probability by depth with its interval, and chance."""
    made = readings["probability"]
    plate, x = Plate(width="single"), np.arange(made.value.size).astype(float)
    measurement(plate[0], x, made.values, "answer")
    prediction(plate[0], x, made.null_mean, "chance")
    plate[0].labels(x="depth (0: embedding)", y="probability of the answer")
    describe(plate, "When the answer shows, read by the model's own norm and read-out", seeds="as the prompts given")
    plate.legend("below")
    return plate


_PROMPTS, _DEPTHS, _WORDS = 16, 80, 13


def _world(rng: np.random.Generator, bonus: float) -> Depths:
    """States whose normed logits are N(0, 1) by word, and ``bonus`` higher at the answer; depths differ in scale.

    The norm divides by the first coordinate: like every norm it forgets the scale of a state.
    """
    answers = rng.integers(_WORDS, size=_PROMPTS)
    y = rng.standard_normal((_PROMPTS, _DEPTHS, _WORDS)) + bonus * (np.arange(_WORDS) == answers[:, None])[:, None]
    states = np.concatenate([np.ones((_PROMPTS, _DEPTHS, 1)), y], -1)
    states *= np.linspace(0.5, 1.0, _DEPTHS)[:, None]  # the stream grows
    unembed = np.concatenate([np.zeros((1, _WORDS)), np.eye(_WORDS)])
    return Depths(states, unembed, answers, lambda x: x / x[..., :1])


def _with_the_final_scale(rng: np.random.Generator) -> np.ndarray:
    """The rival: every depth divided by the last one's scale, at a bonus of 3."""
    made = _world(rng, 3.0)
    last = made.states[:, -1:, :1]
    return measure(Depths(made.states, made.unembed, made.answers, lambda x: x / last))["margin"].value


INSTRUMENT = Instrument(
    measure=measure,
    main="margin",
    needs=(),
    nulls={"answers of other prompts": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.5, 1.0, 3.0),
    limit=float(limit_of_ranks(1.0, _PROMPTS)),
    rivals=(Rival("the final norm's scale, frozen", "value", _with_the_final_scale, 3.0),),
    figure=figure,
    sheet="instruments_circuits 6",
)
