r"""Up to which layer may tokens wait for each other, and in which layers do they meet: context-free states and masked
attention.

Formula: (CAMA at layer l) every state before layer l is replaced by its mean over the prompts that hold the same token at the
same place,

.. math:: \tilde h_t^l(x) = \operatorname{mean}\{h_t^l(x') : x'_t = x_t\},

so that it knows its token and nothing of the others. ``accuracy`` is that of the last token's answer, by layer. (ABP) in the
layers of a window the last token sees every key and all others themselves only; in later layers everything sees itself only.
:func:`windows` (AF1) puts both together: the last layer that may be waited for, and the layers that suffice after it.

Null: answers that have nothing to do with the prompts: chance. The test is the exact binomial one.

Limit: the share that the binomial test finds with 80 %. Where all prompts of a template are given, the means are exact.

Twin: the plain mean over all prompts, which destroys what the token is at once; a program that mixes tokens early, for which
there is no window.

Sheet: instruments_circuits 5; All for One: LLMs Solve Mental Math at the Last Token (CAMA, ABP, AF1).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.instruments.figure_of_entries import figure_of_entries
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival
from attnlab.analysis.instruments.over_trials import detectable_share, share_of
from attnlab.analysis.instruments.readings import Run

AXES = ("layer",)


@dataclass(frozen=True, eq=False)
class Template:
    """A model and prompts (prompt, token) of one template, all of them if they are few, with the right word after each.

    ``layers``: before which of the model's ``n_layers`` layers states are replaced; n_layers itself means the final state.
    ``chance``: the accuracy of a model that knows nothing.
    """

    run: Run
    prompts: np.ndarray
    answers: np.ndarray
    n_layers: int
    chance: float
    layers: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.prompts.ndim != 2 or len(self.prompts) != len(self.answers) or len(self.prompts) < 1:
            raise ValueError(
                f"prompts must be (prompt, token) with one answer each, got {self.prompts.shape}, {np.shape(self.answers)}"
            )
        if any(not 0 <= layer <= self.n_layers for layer in self.layers):
            raise ValueError(f"layers must lie between 0 and n_layers={self.n_layers}, got {tuple(self.layers)}")


def measure(template: Template) -> dict[str, Reading]:
    """``accuracy`` with context-free states before each of ``layers`` (all, if none are named), (layer,), against chance."""
    layers = template.layers or range(template.n_layers + 1)
    right = np.stack([_right(template, _without_context(template, layer)) for layer in layers], -1)
    return {"accuracy": share_of(right, AXES, "prompts drawn alike", template.chance)}


def windows(template: Template, most: int = 3, share: float = 0.99) -> list[tuple[int, tuple[int, ...]]]:
    """(wait, window) for which the model keeps ``share`` of its accuracy, windows of at most ``most`` layers.

    Layers before ``wait`` see no context; those of the window let the last token see everything; all after wait and outside
    the window let every token see itself only. The planted answer is the largest wait with the smallest window. Costs one run
    per pair.
    """
    whole = _right(template, {}).mean()
    found = []
    for wait in range(template.n_layers + 1):
        states = _without_context(template, wait)
        later = range(wait, template.n_layers)
        for size in range(most + 1):
            for window in itertools.combinations(later, size):
                masks = {f"L{layer}.scores": _only(layer in window) for layer in later}
                if _right(template, {**states, **masks}).mean() >= share * whole:
                    found.append((wait, window))
    return found


def by_token(states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """The mean of ``states`` (prompt, token, dim) over the prompts with the same token at the same place."""
    made = np.empty_like(states)
    for place in range(tokens.shape[1]):
        _, group = np.unique(tokens[:, place], return_inverse=True)
        total = np.zeros((group.max() + 1, states.shape[-1]))
        np.add.at(total, group, states[:, place])
        made[:, place] = (total / np.bincount(group)[:, None])[group]
    return made


def figure(readings: Mapping[str, Reading]) -> Plate:
    """Accuracy against the layer before which states lose their context."""
    made = readings["accuracy"]
    return figure_of_entries(made, "accuracy", "layers asked for", "Accuracy with context-free states", "95 % exact")


def _site(template: Template, layer: int) -> str:
    return f"L{layer}.pre" if layer < template.n_layers else "final"


def _without_context(template: Template, layer: int) -> dict[str, np.ndarray]:
    site = _site(template, layer)
    return {site: by_token(template.run(template.prompts, sites=(site,))[site], template.prompts)}


def _right(template: Template, replace: Mapping[str, object]) -> np.ndarray:
    logits = template.run(template.prompts, sites=("logits",), replace=replace)["logits"]
    return logits[:, -1].argmax(-1) == template.answers


def _only(peeks: bool) -> Callable[[np.ndarray], np.ndarray]:
    """Scores by which every token sees itself only, and the last one everything if ``peeks``."""

    def masked(scores: np.ndarray) -> np.ndarray:
        keep = np.eye(scores.shape[-1], dtype=bool)
        keep[-1] |= peeks
        return np.where(keep, scores, -np.inf)

    return masked


_N, _WORDS = 120, 7


def _copier(early: bool) -> Run:
    """A model of one layer of attention that copies the first token's word to the last, before layer 1 or (late) in it."""

    def run(
        inputs: np.ndarray, sites: Sequence[str] = (), replace: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        replace = replace or {}
        x = np.eye(_WORDS + 1)[inputs]
        copied = np.concatenate([x[:, :1], x[:, :1]], 1)
        state = replace.get("L1.pre", copied if early else x)
        final = state if early else np.concatenate([state[:, :1], state[:, :1]], 1)
        return {
            name: {"L1.pre": copied if early else x, "logits": final[..., :_WORDS]}[name] for name in sites
        }  # the first token's word, as logits

    return run


def _world(rng: np.random.Generator, gain: float, early: bool = False) -> Template:
    """Prompts (word, '=') whose answer is the word with probability chance + gain, else one of the others."""
    words = rng.integers(_WORDS, size=_N)
    wrong = (words + rng.integers(1, _WORDS, _N)) % _WORDS
    answers = np.where(rng.random(_N) < 1 / _WORDS + gain, words, wrong)
    prompts = np.stack([words, np.full(_N, _WORDS)], -1)
    return Template(_copier(early), prompts, answers, 2, 1 / _WORDS, (1,))


def _plain_mean(rng: np.random.Generator) -> np.ndarray:
    """The rival: every state replaced by its mean over all prompts, at a true accuracy of chance + .5."""
    made = _world(rng, 0.5)
    states = made.run(made.prompts, sites=("L1.pre",))["L1.pre"]
    mean = np.broadcast_to(states.mean(0), states.shape)
    return np.atleast_1d(_right(made, {"L1.pre": mean}).mean())


def _mixed_early(rng: np.random.Generator) -> np.ndarray:
    return measure(_world(rng, 0.5, early=True))["accuracy"].value


INSTRUMENT = Instrument(
    measure=measure,
    main="accuracy",
    needs=(),
    nulls={"answers of other prompts": lambda rng: _world(rng, 0.0)},
    planted=_world,
    truth=lambda strength: 1 / _WORDS + strength,
    strengths=(0.1, 0.3, 0.8),
    limit=detectable_share(_N, 1 / _WORDS) - 1 / _WORDS,
    rivals=(
        Rival("the plain mean", "value", _plain_mean, 1 / _WORDS + 0.5),
        Rival("a program that mixes early", "told", _mixed_early, 1 / _WORDS + 0.5),
    ),
    figure=figure,
    sheet="instruments_circuits 5",
)
