"""Linear attention via orthogonal memory: the running mean of the context in a few orthogonal slots, and a local window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.masks import Causal, Window
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal
from attnlab.kernels.operators.projections import into_heads, out_of_heads, projections


@dataclass(frozen=True)
class OrthogonalMemory(Operator):
    r"""Global part from orthogonal slots of the mean, local part from a window, added.

    .. math:: m_i = (b_i \cdot \bar v_t)\, b_i, \qquad y_t = \sum_{i=1}^{r} \mathrm{softmax}_i(q_t \cdot m_i / \sqrt d)\, m_i
              + \sum_{|j - t| \le w} \mathrm{softmax}_j(q_t \cdot k_j / \sqrt d)\, v_j ,

    b orthonormal rows (``basis``, frozen; r = ``n_slots``, at most d), bar v_t the mean of the values up to t (of all of
    them without a mask). The global part knows r numbers of the context, so two contexts of equal projected mean are one
    to it, whatever their order. A reading of the abstract and section titles of Zhang, Jiang and others 2023 (arXiv
    2312.11135); their exact combination of the parts and their relative positions are not known to us.
    """

    n_slots: int = 2
    window: int = 1
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "zhang2023"
    facts: ClassVar[Facts] = Facts("free", causal="prefix", content="nonlinear", equivariant=("interior shift",))
    no_matrix: ClassVar[str] = "the slots mix the channels of the mean"
    frozen_parameters: ClassVar[tuple[str, ...]] = ("basis",)
    budget: ClassVar[float] = 1e-4

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        r = min(self.n_slots, sizes.d)
        square = normal(generators, (sizes.n_heads, sizes.d, sizes.d), 1.0, torch.float64)
        basis = torch.linalg.qr(square).Q[..., :r].mT.contiguous().to(dtype)
        return projections(sizes, generators, dtype) | {"basis": basis}

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        q, k, v = (into_heads(inputs.x, parameters[name]) for name in ("query", "key", "value"))
        mask = Window(self.window, self.window)
        local = attention(q, k, v, mask=mask & Causal() if causal else mask)
        return out_of_heads(self.global_part(q, v, parameters, causal) + local, parameters["out"])

    @staticmethod
    def global_part(q: Tensor, v: Tensor, parameters: Parameters, causal: bool) -> Tensor:
        """What the slots answer, (replica, batch, head, query, d)."""
        n, basis = v.shape[-2], parameters["basis"][:, None]
        count = torch.arange(1, n + 1, dtype=v.dtype, device=v.device)[:, None]
        mean = v.cumsum(-2) / count if causal else v.mean(-2, keepdim=True)
        strength = mean @ basis.mT  # (..., query or 1, slot)
        chosen = (q @ basis.mT * strength / q.shape[-1] ** 0.5).softmax(-1)
        return (chosen * strength) @ basis
