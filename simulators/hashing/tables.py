"""Attention by buckets of summed values, as published, against the operator's explicit pairs; what it costs, counted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.operators.hashing.yoso import Yoso
from attnlab.kernels.operators.operator import QKV, Sizes
from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class TableSetting:
    """``cells``: (length n, width d, width d_v, bits tau, hashes m)."""

    cells: tuple[tuple[int, int, int, int, int], ...] = (
        (64, 8, 4, 4, 8),
        (256, 8, 4, 4, 8),
        (256, 16, 4, 4, 8),
        (256, 16, 4, 8, 8),
        (256, 16, 32, 8, 32),
    )
    n_replicas: int = 2

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "cells", "n_replicas")


def by_buckets(q: Tensor, k: Tensor, v: Tensor, planes: Tensor) -> tuple[Tensor, int]:
    """Output (n, d_v) before the norm, and the numbers added: per hash a table of 2^tau sums of values, read by the queries.

    ``planes`` (hash, bit, d).
    """
    powers = 2 ** torch.arange(planes.shape[1])
    out, added = torch.zeros(len(q), v.shape[1], dtype=v.dtype), 0
    for plane in planes:
        at_q, at_k = (((x @ plane.T > 0).long() * powers).sum(-1) for x in (q, k))
        table = torch.zeros(2 ** planes.shape[1], v.shape[1], dtype=v.dtype).index_add_(0, at_k, v)
        out += table[at_q]
        added += v.numel() + out.numel()
    return out / len(planes), added


@simulation(name="hashing_tables.against_pairs", block=1, reads=("cells",))
def against_pairs(setting: TableSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """First cell: outputs (replica, n, d_v) by ``buckets`` and by the operator's ``pairs``; ``coarser``: one bit less."""
    n, d, d_v, bits, hashes = setting.cells[0]
    made: dict[str, list] = {"buckets": [], "pairs": [], "coarser": []}
    for seed in seeds:
        q, k, v, operator, planes = _made(n, d, d_v, bits, hashes, int(seed.generate_state(1)[0]))
        B = operator.matrix(QKV(*(x[None, None, None] for x in (q, k, v))), planes)[0, 0, 0]
        made["pairs"].append((B @ v).numpy())
        made["buckets"].append(by_buckets(q, k, v, planes["planes"][0])[0].numpy())
        made["coarser"].append(by_buckets(q, k, v, planes["planes"][0][:, 1:])[0].numpy())
    return {name: np.array(values) for name, values in made.items()}


@simulation(name="hashing_tables.counts", block=1, reads=("cells",))
def counts(setting: TableSetting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """Whole numbers (replica, cell): ``multiply_adds`` by buckets, counted by torch; ``additions`` to and from tables;
    ``softmax``: multiply-adds of softmax attention."""
    from torch.utils.flop_counter import FlopCounterMode  # imports Triton

    table = []
    for n, d, d_v, bits, hashes in setting.cells:
        q, k, v, _, planes = _made(n, d, d_v, bits, hashes, 0)
        with FlopCounterMode(display=False) as counter:
            _, added = by_buckets(q, k, v, planes["planes"][0])
        with FlopCounterMode(display=False) as dense:
            (q @ k.T).softmax(-1) @ v
        table.append((counter.get_total_flops() // 2, added, dense.get_total_flops() // 2))
    found = np.array(table, dtype=np.int64)
    names = ("multiply_adds", "additions", "softmax")
    return {name: np.tile(found[:, k], (len(seeds), 1)) for k, name in enumerate(names)}


def _made(n: int, d: int, d_v: int, bits: int, hashes: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Yoso, dict]:
    g = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(n, width, generator=g, dtype=torch.float64) for width in (d, d, d_v))
    operator = Yoso(n_hashes=hashes, n_bits=bits)
    return q, k, v, operator, operator.initialise(Sizes(n=n, d=d, d_v=d_v), [g], torch.float64)
