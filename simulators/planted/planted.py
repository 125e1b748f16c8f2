"""The protocol of planted models, and which there are: those that the files beside this one offer in ``PLANTED``."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from attnlab.kernels.suggestions import did_you_mean
from attnlab.simulators.planted.residual_stack import ResidualStack

Metric = Callable[[np.ndarray], np.ndarray]

_HOME = "attnlab.simulators.planted"


@dataclass(frozen=True, eq=False)
class Prompts:
    """Tokens (prompt, token); the period of each prompt, where it repeats; the right next token after the last, if there is
    one."""

    tokens: np.ndarray
    periods: np.ndarray | None = None
    answers: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Planted:
    """A model of known circuit.

    ``draw(rng, n)`` draws prompts. ``heads``: what was planted, kind -> {(layer, head): strength in nats}, kinds being readings:
    ``"sink"``, ``"previous"``, ``"induction"``. ``acting``: the heads that the answer needs. ``corrupt(rng, prompts)``: the same
    prompts with the answer changed, or None.
    """

    name: str
    about: str
    model: ResidualStack
    draw: Callable[[np.random.Generator, int], Prompts]
    heads: Mapping[str, Mapping[tuple[int, int], float]] = field(default_factory=dict)
    acting: tuple[tuple[int, int], ...] = ()
    corrupt: Callable[[np.random.Generator, Prompts], np.ndarray] | None = None
    first_token: str = "none"


def logit_difference(answers: np.ndarray) -> Metric:
    """At the last place: the logit of each prompt's answer minus the mean of the others, (batch,)."""

    def metric(logits: np.ndarray) -> np.ndarray:
        last = logits[:, -1]
        right = np.take_along_axis(last, np.asarray(answers)[:, None], 1)[:, 0]
        return right - (last.sum(1) - right) / (last.shape[1] - 1)

    return metric


@functools.cache
def planted_models() -> dict[str, Callable[[], Planted]]:
    """Name -> a function that makes the planted model."""
    home = importlib.import_module(_HOME)
    found: dict[str, Callable[[], Planted]] = {}
    for each in pkgutil.iter_modules(home.__path__):
        found |= getattr(importlib.import_module(f"{_HOME}.{each.name}"), "PLANTED", {})
    return dict(sorted(found.items()))


def planted_model(name: str) -> Planted:
    """The planted model of this name. Errors: ``ValueError`` with the nearest name for an unknown one."""
    known = planted_models()
    if name not in known:
        raise ValueError(f"no planted model {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    return known[name]()
