"""Mega: an exponential moving average per channel before gated attention within chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import silu

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.biases import RelativePosition
from attnlab.kernels.operators.axes import beside_problems, linear
from attnlab.kernels.operators.convolutions import causal_depthwise
from attnlab.kernels.operators.operator import Facts, Operator, Parameters, Sizes, Tokens, checked, normal


@dataclass(frozen=True)
class Mega(Operator):
    r"""A damped average of each channel, then one gated head within chunks of ``chunk`` tokens.

    .. math:: s_t = p \odot \beta x_t + q \odot s_{t-1}, \quad q = 1 - p \odot \delta, \quad
              m = \mathrm{silu}(\gamma \cdot s / \sqrt{h} + \omega x),

    h = ``expansion`` states per channel, p and delta sigmoids (the paper calls them alpha and delta, its code the other
    way round). With u = sigmoid(m U), z = silu(m Z), r = silu(m R), c = m C, v = silu(x V):

    .. math:: A = \mathrm{softmax}\bigl((z \odot g_q + b_q)(z \odot g_k + b_k)^\top / \sqrt{d} + \text{bias}_{j - i}\bigr), \qquad
              y = x + u \odot (\mathrm{silu}(c + (r \odot A v) W) - x) .

    Causal within a chunk, the average goes over the whole past; ``causal`` changes nothing. The average is applied as a
    convolution with as many taps as there are tokens. The Laplace function in place of softmax is another map and not built.
    Ma et al. 2022 (arXiv 2209.10655), equations 5 to 14.
    """

    chunk: int = 4
    expansion: int = 2
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "ma2022"
    facts: ClassVar[Facts] = Facts(1.0, causal="prefix", content="pair")
    budget: ClassVar[float] = 1e-3  # squares of silu of tokens in the scores

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        D, d, h = sizes.d_model, sizes.d, self.expansion
        made = {name: normal(generators, (D, h), 0.2, dtype) for name in ("input_gate", "damping")}
        made |= {name: normal(generators, (D, h), 1.0, dtype) for name in ("expand", "contract")}
        made["skip"] = normal(generators, (D,), 1.0, dtype)
        widths = {"update": D, "shared": d, "reset": D, "direct": D, "value": D, "out": D}
        made |= {name: normal(generators, (D, width), D**-0.5, dtype) for name, width in widths.items()}
        made |= {f"{name}_gain": 1 + normal(generators, (d,), 0.02, dtype) for name in ("query", "key")}
        made |= {f"{name}_bias": normal(generators, (d,), 0.02, dtype) for name in ("query", "key")}
        return made | {"position": normal(generators, (2 * self.chunk - 1,), 0.02, dtype)}

    def kernel(self, parameters: Parameters, n: int) -> Tensor:
        r"""Taps of the average (replica, D, n): :math:`h^{-1/2} \sum_h \gamma p \beta q^l`, and omega at l = 0."""
        p = parameters["input_gate"].sigmoid()
        log_q = torch.log1p(-p * parameters["damping"].sigmoid())
        lag = torch.arange(n, dtype=p.dtype, device=p.device)
        size = parameters["contract"] * p * parameters["expand"] * self.expansion**-0.5
        taps = (size[..., None] * (log_q[..., None] * lag).exp()).sum(-2)
        return taps + torch.where(lag == 0, parameters["skip"][..., None], 0.0)

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        m, v = self._average(inputs.x, parameters), self.values(inputs, parameters)
        q, k = self._queries_and_keys(m, parameters)
        bias = RelativePosition(parameters["position"][:, None])
        return self._gated(attention(q, k, v, mask=self._seen(inputs.x), bias=bias), m, inputs.x, parameters)

    def matrix(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        q, k = self._queries_and_keys(self._average(inputs.x, parameters), parameters)
        n = q.shape[-2]
        at = torch.arange(n, device=q.device)
        offset = (at[None] - at[:, None]).clamp(1 - self.chunk, self.chunk - 1) + self.chunk - 1
        s = q @ k.mT / q.shape[-1] ** 0.5 + parameters["position"][:, None][..., offset]
        return torch.where(self._seen(inputs.x), s, -torch.inf).softmax(-1)

    def values(self, inputs: Tokens, parameters: Parameters) -> Tensor:
        return silu(linear(inputs.x, parameters["value"]))

    def post(self, mixed: Tensor, inputs: Tokens, parameters: Parameters) -> Tensor:
        return self._gated(mixed, self._average(inputs.x, parameters), inputs.x, parameters)

    def _average(self, x, parameters):
        return silu(causal_depthwise(x, self.kernel(parameters, x.shape[-2])))

    def _queries_and_keys(self, m, parameters):
        z = silu(linear(m, parameters["shared"]))
        return tuple(
            z * beside_problems(parameters[f"{name}_gain"], z) + beside_problems(parameters[f"{name}_bias"], z)
            for name in ("query", "key")
        )

    def _gated(self, mixed, m, x, parameters):
        u, r = linear(m, parameters["update"]).sigmoid(), silu(linear(m, parameters["reset"]))
        h = silu(linear(m, parameters["direct"]) + linear(r * mixed, parameters["out"]))
        return x + u * (h - x)

    def _seen(self, x):
        at = torch.arange(x.shape[-2], device=x.device)
        return (at[:, None] >= at[None]) & (at[:, None] // self.chunk == at[None] // self.chunk)
