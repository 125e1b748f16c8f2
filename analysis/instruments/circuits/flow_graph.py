r"""Which component writes the answer: every part of the last state, read through W_U, and the graph of who passes on how much.

Formula: of a component c of the state before W_U (scaled by the final norm's factor of the whole state)

.. math:: \text{margin}_c = (c\, W_U)_{answer} - \operatorname{mean}_{w \ne answer} (c\, W_U)_w, \qquad
          \text{edge}_c = \lVert c \rVert,

and the margins of all components add up to that of the logits, which is checked. A node's ``entropy`` is that of softmax(c
W_U), bits.

Null: a component that does not know the answer: its rank among the V words is uniform; ranks add up over prompts, exactly.

Limit: for projections of spread sigma over words, b = sqrt2 sigma Phi^-1(1/2 + (z_a + z_b)/sqrt(12 N)).

Twin: heads ranked by norm, where junk of large norm stands before the head of the circuit.

Sheet: instruments_circuits 6; VISIT: Visualizing and Interpreting the Semantic Information Flow of Transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.over_prompts import needs_prompts, rank_p
from attnlab.analysis.instruments.sinks.sink_strength import limit_of_ranks

AXES = ("component",)
COMPLETE = 1e-4


@dataclass(frozen=True, eq=False)
class Flow:
    """Components of one token's last state, (component, prompt, dim), scaled by the final norm, W_U (dim, word), answers
    (prompt,).

    ``names`` of the components; ``logits`` (prompt, word), if given, must be their sum through W_U within 1e-4 (relative).
    """

    components: np.ndarray
    unembed: np.ndarray
    answers: np.ndarray
    names: tuple[str, ...] = ()
    logits: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.components.ndim != 3 or self.unembed.shape[:1] != self.components.shape[2:]:
            raise ValueError(
                f"components must be (component, prompt, dim) and unembed (dim, word), got {self.components.shape}, "
                f"{self.unembed.shape}"
            )
        if not np.isfinite(self.components).all():
            raise ValueError("components are not finite; a model that diverged?")
        if self.names and len(self.names) != len(self.components):
            raise ValueError(f"{len(self.names)} names for {len(self.components)} components")
        answers, words = np.asarray(self.answers), self.unembed.shape[1]
        if answers.shape != self.components.shape[1:2] or answers.min() < 0 or answers.max() >= words:
            raise ValueError(f"answers must be (prompt,) of words 0 to {words - 1}, got shape {answers.shape}")
        if self.logits is not None:
            total = self.components.sum(0) @ self.unembed
            gap = np.linalg.norm(total - self.logits) / max(float(np.linalg.norm(self.logits)), np.finfo(float).tiny)
            if not gap <= COMPLETE:
                raise ValueError(
                    f"components sum to the logits within {gap:.2g} only (budget {COMPLETE:g}): a part is missing, or the norm's "
                    "factor is not that of the whole state"
                )


def measure(flow: Flow) -> dict[str, Reading]:
    """``margin`` (tested by ranks), ``norm`` and ``entropy`` (bits): (component,), t intervals over prompts."""
    needs_prompts(flow.components.shape[1])
    read = np.swapaxes(flow.components @ flow.unembed, 0, 1)  # (prompt, component, word)
    at = np.asarray(flow.answers)[:, None, None]
    right = np.take_along_axis(read, at, -1)[..., 0]
    n_words = read.shape[-1]
    margin = right - (read.sum(-1) - right) / (n_words - 1)
    rank = (read < right[..., None]).sum(-1) + 0.5 * ((read == right[..., None]).sum(-1) - 1)
    p = rank_p(rank, np.full(len(read), n_words))
    assumed = "answers exchangeable among words without the effect; prompts independent"
    made = reading_of(margin, "logit", AXES, assumed, null=0.0, p=p)
    share = special.softmax(read, -1)
    entropy = special.entr(share).sum(-1) / np.log(2)
    norm = np.swapaxes(np.linalg.norm(flow.components, axis=-1), 0, 1)
    return {
        "margin": Reading(**{**made.__dict__, "limit": limit_of_ranks(read.std(-1).mean(0), len(read))}),
        "norm": reading_of(norm, "", AXES, "prompts independent"),
        "entropy": reading_of(entropy, "bits", AXES, "prompts independent", null=np.log2(n_words)),
    }


def top_words(flow: Flow, prompt: int, count: int = 12) -> list[list[int]]:
    """The words that each component promotes most in a prompt, most first: nodes of the published graph."""
    read = flow.components[:, prompt] @ flow.unembed
    return np.argsort(-read, axis=-1, kind="stable")[:, :count].tolist()


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Margin by component with its interval, zero line and limit."""
    return figure_of_entries(
        readings["margin"], "margin of the answer", "component", "What each component adds to the answer's logit"
    )


_PROMPTS, _COMPONENTS, _WORDS = 16, 40, 13


def _world(rng: np.random.Generator, bonus: float) -> Flow:
    """Components of N(0, 1) projections, ``bonus`` higher at the answer; W_U is a rotation."""
    answers = rng.integers(_WORDS, size=_PROMPTS)
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((_WORDS, _WORDS)))[0]
    read = rng.standard_normal((_COMPONENTS, _PROMPTS, _WORDS)) + bonus * (np.arange(_WORDS) == answers[:, None])
    return Flow(read @ rotation.T, rotation, answers, logits=read.sum(0))


def _by_norm(rng: np.random.Generator) -> np.ndarray:
    """The rival: margin of the component of the largest norm, where junk is three times as large as the one with a margin of
    3."""
    made = _world(rng, 0.0)
    parts = 3 * made.components
    own = made.components[0] + 3 * (np.arange(_WORDS) == made.answers[:, None]) @ made.unembed.T
    parts[0] = own
    read = measure(Flow(parts, made.unembed, made.answers))
    return np.atleast_1d(read["margin"].value[read["norm"].value.argmax()])


INSTRUMENT = Instrument(
    measure=measure,
    main="margin",
    needs=(),
    nulls={"answers of other prompts": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.5, 1.0, 3.0),
    limit=float(limit_of_ranks(1.0, _PROMPTS)),
    rivals=(Rival("the component of the largest norm", "value", _by_norm, 3.0),),
    figure=figure,
    sheet="instruments_circuits 6",
)
