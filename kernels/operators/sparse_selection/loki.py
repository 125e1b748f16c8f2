"""Loki: the keys that score best in the leading directions of a basis, exact attention on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import Approximation, Cache, Facts, Limit, Parameters, Sizes, normal
from attnlab.kernels.operators.selection import Selecting, largest, visible_past


@dataclass(frozen=True)
class Loki(Selecting):
    r"""The ``keep`` keys of largest :math:`\sum_{c \le r} (q E)_c (k E)_c`; softmax over all d coordinates of them.

    E "basis" (replica, head, d, d) is orthogonal, the eigenvectors of the keys' second moment found beforehand
    (:meth:`calibrated`); at the start it is random. The scale stays 1/sqrt d. Published with r = d/4 and a quarter of the keys.
    Singhania et al. 2024 (arXiv 2406.02542), algorithm 1.
    """

    keep: int = 3
    directions: int = 2
    source: ClassVar[str] = "singhania2024"
    approximates: ClassVar[Approximation | str | None] = Approximation(
        lambda sizes: {
            name: tuple(Loki(max(2, sizes.n // part), directions) for part in (32, 16, 8, 4))
            for name, directions in (("all directions", sizes.d), ("a quarter of the directions", -(-sizes.d // 4)))
        },
        lambda sizes: Loki(sizes.n),
    )
    frozen_parameters: ClassVar[tuple[str, ...]] = ("basis",)
    facts: ClassVar[Facts] = Facts(
        row_sum=1.0, causal="mask", content="pair", equivariant=("permutation",), smooth=False,
        skips={"rank": "keys that no query chooses have empty columns"},
    )  # fmt: skip
    limits: ClassVar[tuple[Limit, ...]] = (Limit("all keys are kept", lambda: Loki(99), lambda: DotProduct()),)

    def __post_init__(self):
        if self.keep < 1 or self.directions < 1:
            raise ValueError(f"keep={self.keep!r} and directions={self.directions!r} must be at least 1")

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        drawn = normal(generators, (sizes.n_heads, sizes.d, sizes.d), 1.0, torch.float64)
        return {"basis": torch.linalg.qr(drawn)[0].to(dtype)}

    def calibrated(self, keys: Tensor, parameters: Parameters) -> Parameters:
        """Parameters with the eigenvectors of the second moment of keys (replica, batch, head, token, d), largest first."""
        second = (keys.mT @ keys).mean(1) / keys.shape[-2]
        return parameters | {"basis": torch.linalg.eigh(second)[1].flip(-1)}

    def select(self, cache: Cache, parameters: Parameters, *, causal: bool = False) -> Tensor:
        leading = parameters["basis"][:, None, :, :, : self.directions]
        score = (cache.q @ leading) @ (cache.k @ leading).mT
        return largest(score, visible_past(*score.shape[-2:], causal), self.keep)
