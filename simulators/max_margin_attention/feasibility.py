"""Which selections of tokens some weights give the largest score: linear programs, one a selection.

Tarzanagh, Li, Thrampoulidis and Oymak 2023 (arXiv 2308.16898). The question of a support vector machine without its objective.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linprog

from attnlab.simulators.ensemble.random_streams import generators
from attnlab.simulators.ensemble.simulation import simulation
from attnlab.simulators.max_margin_attention.model import stacked
from attnlab.simulators.max_margin_attention.training import Setting, draw

MOST = 256  # selections of one data set that are tried


@simulation(name="max_margin_attention.feasible_selections", block=16, reads=("n_inputs", "n_tokens", "dim", "query"))
def feasible_selections(
    setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str
) -> dict[str, np.ndarray]:
    """Every selection of one token an input, or 256 drawn where there are more, and whether it is feasible.

    Returns ``selected (replica, selection, input)`` and ``feasible (replica, selection)``. A selection is feasible if
    :math:`(x_{i\\alpha_i} - x_{it})^T W z_i \\ge 1` for all i and all other t has a solution W.
    """
    drawn = stacked([draw(setting, stream, "linear") for stream in generators(seeds, "data set")])
    keys, queries = (array.numpy() for array in drawn[:2])
    shape = setting.n_tokens, setting.n_inputs
    selected = []
    for seed in seeds:
        if shape[0] ** shape[1] <= MOST:
            selected.append(list(itertools.product(range(shape[0]), repeat=shape[1])))
        else:
            stream = np.random.default_rng(seed.spawn(1)[0])
            selected.append(stream.integers(shape[0], size=(MOST, shape[1])).tolist())
    found = [
        [separable(X, Z, np.array(chosen)) for chosen in each]
        for X, Z, each in zip(keys, queries, selected, strict=True)
    ]
    return {"selected": np.array(selected), "feasible": np.array(found)}


def separable(keys: np.ndarray, queries: np.ndarray, selected: np.ndarray) -> bool:
    """Whether the linear program has a solution. ``keys (input, token, dim)``, ``queries (input, query_dim)``."""
    gaps = keys[np.arange(len(keys)), selected][:, None] - keys
    rows = (gaps[..., :, None] * queries[:, None, None, :]).reshape(-1, keys.shape[2] * queries.shape[1])
    rows = rows[rows.any(1)]
    program = linprog(
        np.zeros(rows.shape[1]), A_ub=-rows, b_ub=-np.ones(len(rows)), bounds=(None, None), method="highs"
    )
    return bool(program.status == 0)
