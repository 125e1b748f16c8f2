r"""What would a head do if it looked where a person says: a pattern put into a head, against random patterns of the same
density.

Formula: the head's weights are cut to the pattern and renormalised (its scores are masked before the softmax: -1e4 in the
published code), per prompt

.. math:: \text{gain} = m(\text{pattern}) - m(\text{random pattern of as many keys per row}), \qquad
          \text{relevance} = \operatorname{mean}_i \sum_j A_{ij} S_{ij},

m the metric of a prompt. ``change`` is m(pattern) - m(as it is).

Null: it does not matter which keys are seen: gain 0. Student's test over prompts, one-sided.

Limit: a gain of (z_a + z_b) sd/sqrt(N) of the paired differences.

Twin: the same injection into a head whose values cannot carry what is there (W_V W_O); the bare change, which is large
wherever a head is disturbed.

Sheet: instruments_maps 3; Human Guided Exploitation of Interpretable Attention Patterns in Summarization and Topic
Segmentation.
"""

from __future__ import annotations

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


@dataclass(frozen=True, eq=False)
class Injection:
    """A model, its prompts, ``metric(logits (prompt, token, word)) -> (prompt,)``, heads (layer, head), and the pattern.

    ``pattern`` (prompt or 1, query, key) bool; rows without a key in it are left as they are. ``seed`` draws the random
    patterns, with as many keys per row among those that a causal query sees.
    """

    run: Run
    inputs: Any
    metric: Callable[[np.ndarray], np.ndarray]
    heads: Sequence[tuple[int, int]]
    pattern: np.ndarray
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pattern.ndim != 3 or self.pattern.dtype != bool or self.pattern.shape[1] != self.pattern.shape[2]:
            raise ValueError(f"pattern must be bool (prompt or 1, n, n), got {self.pattern.dtype} {self.pattern.shape}")
        if not self.heads:
            raise ValueError("heads is empty; give at least one (layer, head)")


def measure(injection: Injection) -> dict[str, Reading]:
    """``gain`` (tested), ``change`` and ``relevance``: (head,), paired over prompts."""
    sites = sorted({f"L{layer}.pattern" for layer, _ in injection.heads})
    plain = injection.run(injection.inputs, sites=(*sites, "logits"))
    before = injection.metric(plain["logits"])
    shape = plain[sites[0]].shape
    wanted = np.broadcast_to(injection.pattern, (shape[0], *shape[2:]))
    wanted = wanted & np.tri(shape[-1], dtype=bool)
    rng = np.random.default_rng(injection.seed)
    rows: dict[str, list[np.ndarray]] = {"gain": [], "change": [], "relevance": []}
    for layer, head in injection.heads:
        a = plain[f"L{layer}.pattern"][:, head]
        after, other = (_with(injection, layer, head, a, s) for s in (wanted, equally_dense(rng, wanted)))
        rows["gain"].append(after - other)
        rows["change"].append(after - before)
        rows["relevance"].append((a * wanted).sum((-1, -2)) / np.maximum(wanted.any(-1).sum(-1), 1))
    assumed = "keys exchangeable without the effect; prompts independent"
    units = {"gain": "metric", "change": "metric", "relevance": "mass per row"}
    made = {name: np.stack(values, -1) for name, values in rows.items()}
    return {
        name: reading_of(
            values, units[name], AXES, assumed, null=0.0 if name == "gain" else np.nan, tested=name == "gain"
        )
        for name, values in made.items()
    }


def inject(a: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    """Weights (..., query, key) cut to the pattern and renormalised; rows without a key of it stay as they are.

    A row that holds no mass on its keys looks at them evenly, the limit of a mask that leaves only them.
    """
    cut = np.where(pattern, a, 0.0)
    total, count = cut.sum(-1, keepdims=True), pattern.sum(-1, keepdims=True)
    even = pattern / np.maximum(count, 1)
    made = np.where(total > 0, cut / np.where(total > 0, total, 1.0), even)
    return np.where(count > 0, made, a)


def equally_dense(rng: np.random.Generator, pattern: np.ndarray) -> np.ndarray:
    """Random causal patterns with as many keys in every row as ``pattern`` (prompt, query, key)."""
    keys = np.where(np.tri(pattern.shape[-1], dtype=bool), rng.random(pattern.shape), np.inf)
    return keys.argsort(-1).argsort(-1) < pattern.sum(-1, keepdims=True)


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Gain by head with its interval, zero line and limit."""
    return figure_of_entries(
        readings["gain"], "gain", "head, in the order given", "What the pattern does beyond random ones"
    )


def _with(injection: Injection, layer: int, head: int, a: np.ndarray, pattern: np.ndarray) -> np.ndarray:
    site = f"L{layer}.H{head}.pattern"
    return injection.metric(
        injection.run(injection.inputs, sites=("logits",), replace={site: inject(a, pattern)})["logits"]
    )


_N, _HEADS, _TOKENS = 16, 20, 8


def _linear(
    inputs: np.ndarray, sites: Sequence[str] = (), replace: Mapping[str, Any] | None = None
) -> dict[str, np.ndarray]:
    """Even heads over the values that are its inputs (prompt, head, token); the logit is the sum of what they bring."""
    a = np.tri(_TOKENS) / np.arange(1, _TOKENS + 1)[:, None]
    a = np.broadcast_to(a, (*inputs.shape, _TOKENS)).copy()
    for name, given in (replace or {}).items():
        a[:, int(name.split(".")[1][1:])] = given
    found = {"L0.pattern": a, "logits": (a @ inputs[..., None]).sum(1)}
    return {name: found[name] for name in sites}


def _world(rng: np.random.Generator, strength: float, carries: bool = True) -> Injection:
    """Noise values, ``strength`` higher at a place that the prompt marks; the pattern is to look there from the last token.

    The random pattern of one key falls on it with probability 1/tokens, so the value is higher by strength/(1 - 1/tokens).
    """
    marked = rng.integers(_TOKENS, size=_N)
    values = rng.standard_normal((_N, _HEADS, _TOKENS))
    if carries:
        values += strength / (1 - 1 / _TOKENS) * (np.arange(_TOKENS) == marked[:, None])[:, None]
    pattern = np.zeros((_N, _TOKENS, _TOKENS), dtype=bool)
    pattern[np.arange(_N), -1, marked] = True
    heads = [(0, head) for head in range(_HEADS)]
    return Injection(_linear, values, lambda logits: logits[:, -1, 0], heads, pattern, int(rng.integers(2**31)))


def _limit() -> float:
    """Strength at detectable(sd): with q = 1 - 1/tokens the two keys differ with probability q, then by 2 + (s/q)^2 (1 - q) in
    variance."""
    strength, q = 1.0, 1 - 1 / _TOKENS
    for _ in range(60):
        strength = float(detectable((2 * q + strength**2 * (1 - q) / q) ** 0.5, _N))
    return strength


INSTRUMENT = Instrument(
    measure=measure,
    main="gain",
    needs=(),
    nulls={"it does not matter where": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: strength,
    strengths=(0.5, 1.0, 3.0),
    limit=_limit(),
    rivals=(
        Rival("a head that cannot carry it", "told", lambda rng: measure(_world(rng, 1.0, False))["gain"].value, 1.0),
    ),
    figure=figure,
    sheet="instruments_maps 3",
)
