"""A network of one hidden layer on the whole padded sequence, in place of attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnlab.kernels.operators.base_scores.self_attention import SelfAttention
from attnlab.kernels.operators.operator import Facts, Limit, Operator, Parameters, Sizes, Tokens, checked, normal


def _uniform(hidden_bias: bool):
    """Weights by hand: the map that gives every token the mean token through all heads, which attention without queries has."""

    def prepare(inputs, parameters):
        x, n_max = inputs.x, SequenceFFN().n_max
        replicas, n, D = x.shape[0], x.shape[-2], x.shape[-1]
        half = torch.linspace(-1, 1, D * D, dtype=x.dtype).reshape(1, 1, D, D).repeat(replicas, 1, 1, 1)
        rival = {"query": 0 * half, "key": half, "value": half, "out": half.mT + 0.5}  # one head of width D
        into = torch.eye(D, dtype=x.dtype).repeat(n_max, 1) / n
        out = (rival["value"] @ rival["out"])[:, 0].repeat(1, 1, n_max)
        if hidden_bias:  # relu(z + B) - B = z where z > -B
            B = x.abs().max() + 1
            own = {"into": into.expand(replicas, -1, -1), "out": out, "hidden_bias": B.expand(replicas, D)}
            own["out_bias"] = -B * out.sum(1)
        else:  # relu(z) - relu(-z) = z
            own = {"into": torch.cat([into, -into], -1).expand(replicas, -1, -1), "out": torch.cat([out, -out], 1)}
            own |= {"hidden_bias": x.new_zeros(replicas, 2 * D), "out_bias": x.new_zeros(replicas, n_max * D)}
        return inputs, own, rival

    return prepare


@dataclass(frozen=True)
class SequenceFFN(Operator):
    r"""All tokens at once: :math:`\mathrm{vec}(y) = W_2\, \mathrm{relu}(W_1 \mathrm{vec}(x) + b_1) + b_2`.

    x is padded with zeros to ``n_max`` tokens and flattened, the output is cut to the length of x. "into" (replica, n_max D,
    hidden), "out" (replica, hidden, n_max D), "hidden_bias", "out_bias". This is the variant that replaces one attention
    layer; the published ones with the residual, per head, and for a whole encoder layer put the same network elsewhere. Uniform
    attention is exact with hidden = D (a bias keeps every unit active on bounded inputs), and with 2 D without hidden biases.
    Bozic et al. 2024 (arXiv 2311.10642), section 3 (sizes and biases from memory).
    """

    hidden: int = 8
    n_max: int = 12
    kind: ClassVar[str] = "tokens"
    source: ClassVar[str] = "bozic2024"
    no_matrix: ClassVar[str] = "hidden units act on sums over tokens"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("attention is uniform, hidden biases, width D", lambda: SequenceFFN(), lambda: SelfAttention(), _uniform(True)),
        Limit("attention is uniform, no biases, width 2 D", lambda: SequenceFFN(), lambda: SelfAttention(), _uniform(False)),
    )  # fmt: skip

    def __post_init__(self):
        if self.hidden < 1 or self.n_max < 1:
            raise ValueError(f"hidden={self.hidden!r} and n_max={self.n_max!r} must be at least 1")

    @property
    def facts(self) -> Facts:  # type: ignore[override]
        """Parameters belong to ``n_max`` places."""
        return Facts(
            row_sum="free", causal="none", causal_reason="every hidden unit reads all tokens", content="nonlinear",
            n_max=self.n_max,
        )  # fmt: skip

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        width, h = self.n_max * sizes.d_model, self.hidden
        return {
            "into": normal(generators, (width, h), width**-0.5, dtype),
            "hidden_bias": normal(generators, (h,), 0.1, dtype),
            "out": normal(generators, (h, width), h**-0.5, dtype),
            "out_bias": torch.zeros(len(generators), width, dtype=dtype),
        }

    def apply(
        self, inputs: Tokens, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        checked(inputs, self)
        self.not_causal(causal)
        n, D = inputs.x.shape[-2:]
        flat = pad(inputs.x, (0, 0, 0, self.n_max - n)).flatten(-2)  # (replica, batch, n_max D)
        hidden = (flat @ parameters["into"] + parameters["hidden_bias"][:, None]).relu()
        y = hidden @ parameters["out"] + parameters["out_bias"][:, None]
        return y.unflatten(-1, (self.n_max, D))[..., :n, :]
