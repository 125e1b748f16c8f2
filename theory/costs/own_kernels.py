r"""What the laboratory's own kernels must do: multiply-adds, exponentials and bytes of one attention call or training step.

A multiply-add is 2 FLOPs. Attention costs d + d_v multiply-adds per visible pair forward (logits, output) and 3 d + 2 d_v
backward (logits and weights again, dP, dV, dK, dQ); second order, with the forward-mode derivative, costs 7 d + 5 d_v. The
bytes are the compulsory ones: every operand read once and every result written once.
``tests/kernels/compiled/test_counters.py`` compares these closed forms with what the kernels count in their loops.

References: FlashAttention (arXiv 2205.14135), section 3, for the recomputing backward; ``kernel_cost`` for tiled kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnlab.theory.checks import check_positive
from attnlab.theory.costs.dense_tiles import causal_pairs, roofline_seconds


@dataclass(frozen=True)
class KernelWork:
    """Multiply-adds of products, exponentials, and compulsory bytes of one call."""

    multiply_adds: int
    exponentials: int
    bytes_read: int
    bytes_written: int

    @property
    def flops(self) -> int:
        """Floating-point operations, 2 a multiply-add."""
        return 2 * self.multiply_adds

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    def times(self, count: int) -> KernelWork:
        """The work of ``count`` such calls."""
        return KernelWork(
            count * self.multiply_adds, count * self.exponentials, count * self.bytes_read, count * self.bytes_written
        )


@dataclass(frozen=True)
class AttentionSizes:
    """One attention problem: queries, keys, widths, visible pairs (None: all, as without a mask), bytes of a number."""

    n_queries: int
    n_keys: int
    dim: int
    value_dim: int
    n_pairs: int | None = None
    element: int = 4

    def __post_init__(self):
        check_positive(**{name: getattr(self, name) for name in ("n_queries", "n_keys", "dim", "value_dim", "element")})
        if self.n_pairs is not None and not 0 <= self.n_pairs <= self.n_queries * self.n_keys:
            raise ValueError(
                f"n_pairs={self.n_pairs!r} must be between 0 and n_queries n_keys = {self.n_queries * self.n_keys}"
            )

    @classmethod
    def causal(cls, n: int, dim: int, value_dim: int, element: int = 4) -> AttentionSizes:
        """n tokens, each of which sees itself and those before it."""
        return cls(n, n, dim, value_dim, causal_pairs(n), element)

    @property
    def pairs(self) -> int:
        """Visible pairs."""
        return self.n_queries * self.n_keys if self.n_pairs is None else self.n_pairs

    @property
    def input_bytes(self) -> int:
        """Bytes of queries, keys and values."""
        return self.element * (self.n_queries * self.dim + self.n_keys * (self.dim + self.value_dim))

    @property
    def output_bytes(self) -> int:
        """Bytes of the output."""
        return self.element * self.n_queries * self.value_dim


def attention_forward(sizes: AttentionSizes) -> KernelWork:
    """Softmax forward: two products over the visible pairs; one exponential per pair, and one per row for the constant."""
    return KernelWork(
        sizes.pairs * (sizes.dim + sizes.value_dim),
        sizes.pairs + sizes.n_queries,
        sizes.input_bytes,
        sizes.output_bytes,
    )


def attention_backward(sizes: AttentionSizes) -> KernelWork:
    """Backward that recomputes the weights from q and k: five products over the visible pairs."""
    return KernelWork(
        sizes.pairs * (3 * sizes.dim + 2 * sizes.value_dim),
        sizes.pairs + sizes.n_queries,
        sizes.input_bytes + sizes.output_bytes,
        sizes.input_bytes,
    )


def attention_second(sizes: AttentionSizes) -> KernelWork:
    """Derivative of the backward, with the forward-mode derivative, in one pass over the visible pairs.

    Logits d, their tangent 2 d, dP and its tangent 2 d_v, tangent of the output 2 d_v, gradients 4 d + d_v.
    """
    return KernelWork(
        sizes.pairs * (7 * sizes.dim + 5 * sizes.value_dim),
        sizes.pairs + sizes.n_queries,
        2 * sizes.input_bytes + sizes.output_bytes,
        sizes.input_bytes + sizes.output_bytes,
    )


def unfused_forward(sizes: AttentionSizes) -> KernelWork:
    """Plain tensor operations: hidden pairs are computed too; logits and weights are written and read once each."""
    pairs = sizes.n_queries * sizes.n_keys
    matrix = sizes.element * pairs
    return KernelWork(
        pairs * (sizes.dim + sizes.value_dim), pairs, sizes.input_bytes + 2 * matrix, sizes.output_bytes + 2 * matrix
    )


def unfused_backward(sizes: AttentionSizes) -> KernelWork:
    """Its backward from kept weights: four products, no exponential; dP and dS are written, P read for dV and for dS.

    Matrices read: P twice, dP once, dS for dQ and dK; a mask and the other steps of a real graph come on top.
    """
    pairs = sizes.n_queries * sizes.n_keys
    matrix = sizes.element * pairs
    return KernelWork(
        2 * pairs * (sizes.dim + sizes.value_dim),
        0,
        sizes.input_bytes + sizes.output_bytes + 5 * matrix,
        sizes.input_bytes + 2 * matrix,
    )


def idle_lanes(n_problems: int, lanes: int) -> float:
    """Computed over useful problems where ``lanes`` problems share a vector: lanes ceil(n/lanes) / n."""
    check_positive(n_problems=n_problems, lanes=lanes)
    return -(-n_problems // lanes) * lanes / n_problems


def in_context_step(dim: int, n_context: int, n_heads: int, *, width: int, causal: bool, batch: int) -> KernelWork:
    r"""Loss and gradient of one layer on in-context regression for one replica, in the folded form.

    With keys equal to the N = d + 1 numbers of a token and values folded to one number, a head costs 2 L N a sequence
    (values and their gradient), 2 N d a row (folded query and its gradient) and 2 N + 1 a visible pair (logit, mean of
    values, gradient of the query); folding and unfolding cost 3 width N (d + 1) a head and step. Bytes: the batch.
    """
    tokens, rows = dim + 1, n_context if causal else 1
    pairs = causal_pairs(n_context) if causal else n_context
    head = 2 * n_context * tokens + 2 * rows * tokens * dim + pairs * (2 * tokens + 1)
    fold = 3 * n_heads * width * tokens * (dim + 1)
    return KernelWork(batch * n_heads * head + fold, batch * n_heads * pairs, 4 * batch * (n_context + 1) * tokens, 0)


def lower_bound_seconds(work: KernelWork, *, peak_flops: float, bandwidth: float, exp_rate: float) -> float:
    """Roofline: the slowest of arithmetic, memory and exponentials, each at the rate measured on the machine."""
    return roofline_seconds(
        work.flops, work.bytes, work.exponentials, peak_flops=peak_flops, bandwidth=bandwidth, exp_rate=exp_rate
    )
