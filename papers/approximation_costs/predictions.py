"""What theory says of an operator on an ensemble: the law of its scores, the error of the operator's map, and its cost.

Nothing is listed: operators that declare to approximate softmax attention are measured, and those whose file in ``theory/`` has a
``map_error(law, **numbers)`` have a line. Its ``ValueError`` is the reason why it does not cover a law.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from importlib import import_module
from types import ModuleType

import numpy as np

from attnlab.kernels.operators.operator import Operator, Sizes
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting
from attnlab.simulators.score_ensembles.map_errors import rungs_of, sizes_of
from attnlab.theory.costs.visible import all_pairs
from attnlab.theory.score_ensembles.law import ScoreLaw

HAVE_A_LAW = ("gaussian", "low_rank", "planted")
"""Ensembles whose scores are normal given the query; the others are compared with the Gaussian law of the same spread."""


def law_of(setting: EnsembleSetting) -> ScoreLaw:
    """The law of an ensemble's scores; of clustered and heavy-tailed keys the Gaussian one of the same spread and width."""
    width = {"low_rank": setting.rank, "planted": setting.dim // 2}.get(setting.ensemble, setting.dim)
    height = setting.height if setting.ensemble == "planted" else None
    return ScoreLaw(setting.n_tokens, setting.spread, width, height)


@cache
def predicted_error(operator: Operator, law: ScoreLaw) -> tuple[float, str]:
    """Relative error of an operator's map, or NaN with the reason why no law covers it."""
    module = _theory(operator)
    if not hasattr(module, "map_error"):
        return float("nan"), "the operator has no law of its error"
    numbers = {each.name: getattr(operator, each.name) for each in fields(operator)}  # type: ignore[arg-type]
    try:
        return module.map_error(law, **numbers), ""
    except ValueError as reason:
        return float("nan"), str(reason)


def predicted_errors(setting: EnsembleSetting) -> np.ndarray:
    """Errors of the setting's ladder (rung,), NaN where no law covers one."""
    law = law_of(setting)
    return np.array([predicted_error(each, law)[0] for each in rungs_of(setting)])


def relative_cost(operator: Operator, sizes: Sizes) -> float:
    """Multiply-adds over those of softmax attention: of the published algorithm where it differs from our file, else counted."""
    module = _theory(operator)
    numbers = {each.name: getattr(operator, each.name) for each in fields(operator)}  # type: ignore[arg-type]
    cost = module.published_multiply_adds if hasattr(module, "published_multiply_adds") else module.multiply_adds
    return cost(sizes, **numbers) / all_pairs(sizes)


def costs_of(setting: EnsembleSetting) -> np.ndarray:
    """Relative costs of the setting's ladder, (rung,)."""
    return np.array([relative_cost(each, sizes_of(setting)) for each in rungs_of(setting)])


def has_a_law(setting: EnsembleSetting) -> bool:
    """Whether the error of some rung is predicted on the Gaussian ensemble."""
    law = ScoreLaw(setting.n_tokens, 0.05, setting.dim)
    return any(not np.isnan(predicted_error(each, law)[0]) for each in rungs_of(setting))


def _theory(operator: Operator) -> ModuleType:
    path = type(operator).__module__.removeprefix("attnlab.kernels.operators.")
    return import_module(f"attnlab.theory.{path}")
