"""Errors of the maps of operators against float64 softmax attention, on the ensembles of :mod:`.ensembles`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.operators import listing
from attnlab.kernels.operators.operator import QKV, Approximation, Cache, Operator, Sizes
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.score_ensembles.ensembles import EnsembleSetting, queries_and_keys

Ladder = tuple[Operator, ...]


def approximations() -> dict[str, Approximation]:
    """``family/name`` of every operator that declares to approximate softmax attention, with its declaration."""
    found = {name: listing.operator_class(name).approximates for name in listing.names()}
    return {name: each for name, each in found.items() if isinstance(each, Approximation)}


def ladders(sizes: Sizes) -> dict[tuple[str, str], Ladder]:
    """Every ladder of every approximation at these sizes, by ``(family/name, name of the ladder)``."""
    return {
        (name, label): rungs for name, each in approximations().items() for label, rungs in each.ladders(sizes).items()
    }


def sizes_of(setting: EnsembleSetting) -> Sizes:
    """One head with as many queries as keys, and values as wide as keys."""
    return Sizes(n=setting.n_tokens, d=setting.dim, d_v=setting.dim)


def rungs_of(setting: EnsembleSetting) -> Ladder:
    """The operators of the setting's ladder, or the one of its ``rung``.

    Errors: ``ValueError`` for an operator or a ladder that is not declared, and for a rung that the ladder does not have.
    """
    given = ladders(sizes_of(setting))
    if (setting.operator, setting.ladder) not in given:
        known = ", ".join(f"operator={name!r} ladder={label!r}" for name, label in given)
        raise ValueError(
            f"operator={setting.operator!r} ladder={setting.ladder!r} is no approximation; use one of {known}"
        )
    rungs = given[setting.operator, setting.ladder]
    if not -1 <= setting.rung < len(rungs):
        raise ValueError(
            f"rung={setting.rung!r}: the ladder {setting.ladder!r} of {setting.operator!r} has rungs 0 to {len(rungs) - 1}; "
            "use one of them, or -1 for all"
        )
    return rungs if setting.rung < 0 else (rungs[setting.rung],)


@simulation(
    name="score_ensembles.map_errors",
    block=2,
    code_of=lambda setting: (f"attnlab.kernels.operators.{setting.operator.replace('/', '.')}",),
)
def map_errors(setting: EnsembleSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``error2 (replica, rung)``: squared Frobenius error of the map over that of softmax, mean over ``n_draws`` seeds.

    What is measured is the operator's own ``apply`` on unit values. ``mean2 (replica,)``: the same of the map 1/n;
    ``participation``: n times the mean over rows of the sum of squared weights; ``spread``: root mean square score.
    """
    rungs = rungs_of(setting)
    found: dict[str, list] = {name: [] for name in ("error2", "mean2", "participation", "spread")}
    for seed in seeds:
        tokens, chance = (np.random.default_rng(_child(seed, each)) for each in (0, 1))
        q, k = (torch.from_numpy(x)[None, None, None] for x in queries_and_keys(setting, tokens))
        s = (q @ k.mT)[0, 0, 0] / setting.dim**0.5
        P = s.softmax(-1)
        size = float(P.square().sum())
        error = [
            np.mean(
                [
                    float((map_of(each, q, k, int(chance.integers(2**62))) - P).square().sum())
                    for _ in range(setting.n_draws)
                ]
            )
            for each in rungs
        ]
        found["error2"].append(np.array(error) / size)
        found["mean2"].append(1 - 1 / size)
        found["participation"].append(size)
        found["spread"].append(float(s.square().mean().sqrt()))
    return {name: np.array(values) for name, values in found.items()}


def _child(seed: np.random.SeedSequence, number: int) -> np.random.SeedSequence:
    """The same child however often a seed is used; ``spawn`` would count."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, number))


def map_of(operator: Operator, q: Tensor, k: Tensor, seed: int) -> Tensor:
    """The map (query, key) of an operator whose parameters and draws come from ``seed``: applied to unit values.

    Parameters that the operator finds beforehand from keys (``calibrated``) are found from these.
    """
    n, stream = k.shape[-2], torch.Generator().manual_seed(seed)
    sizes = Sizes(n=n, d=q.shape[-1], d_v=n)
    unit = torch.eye(n, dtype=q.dtype)[None, None, None]
    inputs = Cache(q, k, unit, n - q.shape[-2]) if operator.kind == "select" else QKV(q, k, unit)
    parameters = operator.initialise(sizes, [stream], q.dtype)
    if hasattr(operator, "calibrated"):
        parameters = operator.calibrated(k, parameters)
    uniform = operator.facts.n_uniform
    draw = None if uniform is None else torch.rand(1, uniform(sizes), generator=stream, dtype=q.dtype)
    return operator.apply(inputs, parameters, draw=draw)[0, 0, 0]
