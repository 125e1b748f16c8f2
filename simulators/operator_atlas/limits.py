"""Every exact limit that an operator declares, carried out: both operators on the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from attnlab.kernels.operators.listing import members, names
from attnlab.kernels.operators.operator import Limit, Operator, Sizes
from attnlab.simulators.ensemble import random_streams
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.operator_atlas.inputs import generic

SIZES = Sizes(n=6, d=4, d_v=3, n_heads=2, shape=(2, 3))  # that the declared limits are about
SHOWN = 8  # numbers of an output that are kept


@dataclass(frozen=True)
class LimitsSetting:
    """``batch`` problems per replica."""

    batch: int = 2
    n_replicas: int = 4

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "batch", "n_replicas")


def declared() -> list[tuple[str, Limit]]:
    """Every declared limit once, with the name of the operator that declares it, in the order of the listing."""
    found: dict[tuple[str, str, str], Limit] = {}
    for name, operator in members().items():
        for limit in operator.limits:
            found.setdefault((name.partition("[")[0], limit.when, target(limit)), limit)
    return [(name, limit) for (name, _, _), limit in found.items()]


def target(limit: Limit) -> str:
    """``family/name`` of the operator at the limit."""
    return type(limit.other()).__module__.removeprefix("attnlab.kernels.operators.").replace(".", "/")


def _modules(setting: LimitsSetting) -> list[str]:
    return [f"attnlab.kernels.operators.{name.replace('/', '.')}" for name in names()]


@simulation(name="operator_atlas.limits", block=4, code_of=_modules)
def limits(setting: LimitsSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """The first numbers of both outputs, (replica, limit, 8), over their largest entry.

    ``this``: of the operator at its limit; ``other``: of the one that it is; ``moved``: of the other one on inputs larger by a
    billionth; ``error`` (replica, limit): largest difference of all numbers, in units in the last place of the largest.
    """
    found: dict[str, list] = {name: [] for name in ("this", "other", "moved", "error")}
    for stream in random_streams.generators(seeds, "data"):
        rows: dict[str, list] = {name: [] for name in found}
        for _, limit in declared():
            this, other = limit.this(), limit.other()
            inputs = generic(this, SIZES, stream, setting.batch)
            seed = int(torch.randint(2**31, (1,), generator=stream))  # parameters of one kind are the same numbers
            own, rival = (
                operator.initialise(SIZES, [torch.Generator().manual_seed(seed)], torch.float64)
                for operator in (this, other)
            )
            if limit.prepare is not None:
                inputs, own, rival = limit.prepare(inputs, own)
            a, b, c = (
                _output(operator, given, parameters, limit.causal, stream)
                for operator, given, parameters in (
                    (this, inputs, own), (other, inputs, rival), (other, _larger(inputs), rival),
                )
            )  # fmt: skip
            size = b.abs().max()
            rows["error"].append(((a - b).abs().max() / size / torch.finfo(torch.float64).eps).item())
            for name, y in (("this", a), ("other", b), ("moved", c)):
                rows[name].append((y.flatten()[:SHOWN] / size).numpy())
        for name, values in rows.items():
            found[name].append(values)
    return {name: np.array(values) for name, values in found.items()}


def _output(operator: Operator, inputs, parameters, causal: bool, stream: torch.Generator) -> torch.Tensor:
    draws = operator.facts.n_uniform
    draw = None if draws is None else torch.rand(1, draws(SIZES), generator=stream, dtype=torch.float64)
    return operator.apply(inputs, parameters, causal=causal, draw=draw)


def _larger(inputs):
    names = [name for name in ("q", "k", "v", "x") if hasattr(inputs, name)]
    return replace(inputs, **{name: getattr(inputs, name) * (1 + 1e-9) for name in names})
