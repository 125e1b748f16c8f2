"""Multi-scale window attention: sliding windows of four sizes in the heads of a layer, and in layers of a stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.operators.base_scores.dot_product import DotProduct
from attnlab.kernels.operators.operator import QKV, Approximation, Facts, Limit, Operator, Parameters, checked

SCALES = (0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class MultiScaleWindows(Operator):
    r"""Head h of H sees a sliding window of :math:`w_h = w\, \ell\, s_{\lfloor 4 h/H \rfloor}` keys, s = 1/4, 1/2, 1, 2.

    :math:`\ell` = ``depth`` is the factor of the layer, again 1/4, 1/2, 1, 2 from shallow to deep. Windows have at least one
    key and end at the query in the causal form; without it they extend as far ahead as back. The grouping is that of
    the paper's text (its code was not found). Xu et al. 2025 (arXiv 2501.01039), section 3.
    """

    window: int = 4
    depth: float = 1.0
    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "xu2025"
    approximates: ClassVar[Approximation | str | None] = "only the place of a key decides whether it is seen"
    least_heads: ClassVar[int] = 2
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("windows as long as the sequence", lambda: MultiScaleWindows(400), lambda: DotProduct()),
    )

    def __post_init__(self):
        if self.window < 1 or self.depth not in SCALES:
            raise ValueError(f"window={self.window!r} must be at least 1, depth={self.depth!r} one of {SCALES}")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """The reach is that of the widest window."""
        return Facts(
            row_sum=1.0,
            causal="mask",
            content="pair",
            equivariant=("shift", "interior shift", "rotation"),
            reach=lambda sizes: min(max(self.windows(sizes.n_heads)), sizes.n) - 1,
        )

    def windows(self, n_heads: int) -> list[int]:
        """Keys per head, the query's own among them."""
        return [max(1, int(self.window * self.depth * SCALES[4 * h // n_heads])) for h in range(n_heads)]

    def apply(self, inputs: QKV, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        checked(inputs, self)
        parts = []
        for h, w in enumerate(self.windows(inputs.q.shape[-3])):
            head = (x[..., h : h + 1, :, :] for x in (inputs.q, inputs.k, inputs.v))
            parts.append(attention(*head, mask=Window(w - 1, 0 if causal else w - 1)))
        return torch.cat(parts, -3)
