r"""The protocol of the atlas: what every operator offers, in this order, and what it declares of itself.

An operator is a frozen dataclass. Its fields are the numbers fixed before training; its docstring holds formula, validity and
source with equation number. Shapes: leading axes are (replica, batch, head); rows are queries.

.. math:: y = \mathrm{post}(M(\text{inputs})\, \mathrm{values}(\text{inputs})), \qquad M \in \mathbb R^{n_q \times n_k},

unless ``no_matrix`` says why there is no such map. Of fewer queries than keys the last sits at the last key: they get the last
rows of the whole call, or ``ValueError`` where a row needs the other queries, too; a member whose queries are a set of their
own says so in ``skips``. What it declares (:class:`Facts`, :class:`Limit`) is tested in both directions by
``tests/kernels/operators/test_every_operator.py``, which runs over :mod:`attnlab.kernels.operators.listing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

Parameters = dict[str, Tensor]
State = dict[str, Tensor]

KINDS = ("qkv", "tokens", "recurrent", "grid", "graph", "heads", "select")
CONTENT = ("pair", "key", "query", "summary", "none", "nonlinear")
SYMMETRIES = ("permutation", "circular shift", "interior shift", "shift", "rotation", "frame", "layout")
#: What a declared symmetry implies: a permutation-equivariant map is equivariant under every move of tokens.
IMPLIED = {"permutation": ("circular shift", "interior shift", "shift"), "circular shift": ("interior shift",)}


@dataclass(frozen=True)
class QKV:
    """Queries (..., n_q, d), keys (..., n_k, d), values (..., n_k, d_v)."""

    q: Tensor
    k: Tensor
    v: Tensor


@dataclass(frozen=True)
class Tokens:
    """Tokens (replica, batch, n, d_model); the operator has parameters of its own."""

    x: Tensor


@dataclass(frozen=True)
class Grid:
    """Tokens on a grid, row-major: x (replica, batch, rows * columns, d_model); ``weights`` of a quadrature, if any."""

    x: Tensor
    shape: tuple[int, int]
    weights: Tensor | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes (replica, batch, node, d_model) and edges (batch, node, node), True where row i sees j."""

    x: Tensor
    edges: Tensor


@dataclass(frozen=True)
class Heads:
    """Tokens for an operator that combines the heads or layers of an inner operator."""

    x: Tensor
    inner: Operator


@dataclass(frozen=True)
class Cache:
    """Queries, keys and values of a decoder: the last ``n_q`` tokens ask, ``n_past`` keys came before them."""

    q: Tensor
    k: Tensor
    v: Tensor
    n_past: int = 0


Inputs = QKV | Tokens | Grid | Graph | Heads | Cache


@dataclass(frozen=True)
class Sizes:
    """n tokens (keys), n_q queries (None: n), head widths d and d_v, heads; d_model = n_heads * d; grid (rows, columns)."""

    n: int
    d: int
    d_v: int
    n_heads: int = 1
    n_q: int | None = None
    shape: tuple[int, int] | None = None

    @property
    def queries(self) -> int:
        """Number of queries."""
        return self.n if self.n_q is None else self.n_q

    @property
    def d_model(self) -> int:
        """Width of a token."""
        return self.n_heads * self.d


@dataclass(frozen=True)
class Facts:
    """What an operator declares of itself; each entry is tested, also that what is not declared does not hold.

    ``row_sum``: a number, "at most 1", "l1 one" (absolute values sum to 1), "columns one", "free", or a function of sizes.
    ``causal``: "mask" (hidden keys), "prefix" (a form of its own over the past) or "none" with ``causal_reason``.
    ``content``: what the map reads: "pair" of tokens, "key" or "query" alone, a "summary" of all tokens, "none", or
    "nonlinear" in the tokens it mixes. ``equivariant``: names from :data:`SYMMETRIES` (what these imply need not be named).
    ``rank(sizes)``: a bound on the rank of the map, reached on generic inputs; None: full. ``reach(sizes)``: distance of the
    farthest token with influence in one layer; None: all. ``n_uniform(sizes)``: uniform numbers per replica that one call takes.
    ``n_max``: the greatest length, if parameters fix it. ``skips``: check -> reason; the check still runs and must fail.
    """

    row_sum: float | str | Callable[[Sizes], float]
    causal: str
    content: str
    equivariant: tuple[str, ...] = ()
    rank: Callable[[Sizes], int] | None = None
    reach: Callable[[Sizes], int] | None = None
    smooth: bool = True
    n_uniform: Callable[[Sizes], int] | None = None
    n_max: int | None = None
    causal_reason: str = ""
    skips: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.causal not in ("mask", "prefix", "none"):
            raise ValueError(f"causal={self.causal!r}; use 'mask', 'prefix' or 'none'")
        if self.causal == "none" and not self.causal_reason:
            raise ValueError("causal='none' needs causal_reason: why the operator has no causal form")
        if self.content not in CONTENT:
            raise ValueError(f"content={self.content!r}; use one of {', '.join(CONTENT)}")
        for name in self.equivariant:
            if name not in SYMMETRIES:
                raise ValueError(f"equivariant={name!r}; use one of {', '.join(SYMMETRIES)}")
        if isinstance(self.row_sum, str) and self.row_sum not in ("at most 1", "l1 one", "columns one", "free"):
            raise ValueError(f"row_sum={self.row_sum!r}; use a number, a function of sizes, or one of the four words")

    @property
    def symmetries(self) -> frozenset[str]:
        """The declared symmetries with all that they imply."""
        return frozenset(self.equivariant).union(*(IMPLIED.get(name, ()) for name in self.equivariant))


@dataclass(frozen=True)
class Limit:
    """Where an operator is another one, to rounding.

    ``when``: in words. ``this`` and ``other`` make the two operators. ``prepare(inputs, parameters) -> (inputs, parameters
    of this, parameters of the other)`` brings both to the limit; by default both have their parameters at the start.
    ``causal``: the form in which they are compared.
    """

    when: str
    this: Callable[[], Operator]
    other: Callable[[], Operator]
    prepare: Callable[[Any, Parameters], tuple[Any, Parameters, Parameters]] | None = None
    causal: bool = False


@dataclass(frozen=True)
class Approximation:
    """That an operator approximates softmax attention on the same queries and keys, whatever these are.

    ``ladders(sizes)``: by name, operators of growing cost and accuracy at these sizes. ``reaches``: "exact" if ``at_last(sizes)``
    is softmax attention to rounding, "limit" if it comes within a tenth of it (as random features do with their number), "no"
    if no number brings it there.
    """

    ladders: Callable[[Sizes], Mapping[str, tuple[Operator, ...]]]
    at_last: Callable[[Sizes], Operator]
    reaches: str = "exact"

    def __post_init__(self) -> None:
        if self.reaches not in ("exact", "limit", "no"):
            raise ValueError(f"reaches={self.reaches!r}; use 'exact', 'limit' or 'no'")


class Operator:
    """The protocol; members are frozen dataclasses that override what differs from these defaults."""

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str]
    facts: ClassVar[Facts]
    limits: ClassVar[tuple[Limit, ...]] = ()
    no_matrix: ClassVar[str] = ""
    frozen_parameters: ClassVar[tuple[str, ...]] = ()
    #: How an operator approximates softmax attention; or, of one whose numbers can make it that, why it is no approximation.
    approximates: ClassVar[Approximation | str | None] = None
    least_heads: ClassVar[int] = 1  # with fewer heads a part of the operator has nothing to do
    budget: ClassVar[float] = 1e-5  # float32 against float64, relative to the largest output

    def initialise(self, sizes: Sizes, generators: Sequence[torch.Generator], dtype: torch.dtype) -> Parameters:
        """Parameters (replica, ...), one replica per generator; names in ``frozen_parameters`` are not trained."""
        return {}

    def apply(self, inputs: Any, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None) -> Tensor:
        """The output (..., n_q, d_v); ``draw`` (replica, n_uniform) are the uniform numbers of operators that take some."""
        raise NotImplementedError(f"{type(self).__name__} has no apply")

    def values(self, inputs: Any, parameters: Parameters) -> Tensor:
        """What the matrix multiplies, (..., n_k, width)."""
        return inputs.v

    def matrix(
        self, inputs: Any, parameters: Parameters, *, causal: bool = False, draw: Tensor | None = None
    ) -> Tensor:
        """The map M (..., n_q, n_k). By default the operator applied to unit values (kinds with values of their own)."""
        self.has_matrix()
        unit = torch.eye(inputs.k.shape[-2], dtype=inputs.k.dtype, device=inputs.k.device)
        shown = type(inputs)(
            **{
                each.name: unit.expand(*inputs.k.shape[:-2], *unit.shape)
                if each.name == "v"
                else getattr(inputs, each.name)
                for each in fields(inputs)
            }
        )
        return self.apply(shown, parameters, causal=causal, draw=draw)

    def post(self, mixed: Tensor, inputs: Any, parameters: Parameters) -> Tensor:
        """What follows the matrix: a norm, a gate, a value table. By default nothing."""
        return mixed

    def start(self, token: Any) -> State:
        """The state before the first token, for operators with a recurrent form; ``token`` shows shapes and dtype."""
        raise NotImplementedError(f"{type(self).__name__} has no recurrent form")

    def step(self, state: State, token: Any, parameters: Parameters) -> tuple[State, Tensor]:
        """The state after one more token (inputs without their token axis) and its output (..., d_v)."""
        raise NotImplementedError(f"{type(self).__name__} has no recurrent form")

    @classmethod
    def recurrent(cls) -> bool:
        """Whether the operator has a recurrent form."""
        return cls.step is not Operator.step

    def has_matrix(self) -> None:
        """Raise ``ValueError`` with the reason where there is no matrix."""
        if self.no_matrix:
            raise ValueError(f"{type(self).__name__} has no matrix: {self.no_matrix}")

    def not_causal(self, causal: bool) -> None:
        """Raise ``ValueError`` with the reason where a causal form is asked of an operator that has none."""
        if causal and self.facts.causal == "none":
            raise ValueError(f"causal=True: {type(self).__name__} has no causal form: {self.facts.causal_reason}")


def checked(inputs: Any, operator: Operator) -> None:
    """One wording of the checks that all operators share.

    Errors: ``ValueError`` that names argument, value and expectation, for inputs of another kind, for q, k, v whose widths or
    lengths do not fit, and beyond ``facts.n_max``.
    """
    name = type(operator).__name__
    expected = {"qkv": QKV, "select": Cache, "tokens": Tokens, "grid": Grid, "graph": Graph, "heads": Heads}
    wanted = {"recurrent": (QKV, Tokens), "qkv": (QKV, Cache)}.get(operator.kind, (expected[operator.kind],))
    if not isinstance(inputs, wanted):
        raise ValueError(
            f"{name} takes {' or '.join(each.__name__ for each in wanted)} inputs (kind {operator.kind!r}), "
            f"got {type(inputs).__name__}"
        )
    if isinstance(inputs, (QKV, Cache)):
        q, k, v = inputs.q, inputs.k, inputs.v
        if q.shape[-1] != k.shape[-1]:
            raise ValueError(f"q has width {q.shape[-1]} and k {k.shape[-1]}; {name} needs equal widths")
        if k.shape[-2] != v.shape[-2]:
            raise ValueError(f"k has {k.shape[-2]} tokens and v {v.shape[-2]}; give one value per key")
        length = k.shape[-2]
    else:
        length = inputs.x.shape[-2]
    if isinstance(inputs, Grid) and inputs.shape[0] * inputs.shape[1] != length:
        raise ValueError(f"shape={inputs.shape!r} has {inputs.shape[0] * inputs.shape[1]} cells, x has {length} tokens")
    if operator.facts.n_max is not None and length > operator.facts.n_max:
        raise ValueError(f"{name} is built for at most n_max={operator.facts.n_max} tokens, got {length}")


def normal(generators: Sequence[torch.Generator], shape: Sequence[int], std: float, dtype: torch.dtype) -> Tensor:
    """Normal numbers (replica, *shape) of standard deviation ``std``, each replica from its own generator."""
    rows = [torch.randn(tuple(shape), generator=each, dtype=torch.float64, device=each.device) for each in generators]
    return (std * torch.stack(rows)).to(dtype)


def uniform(generators: Sequence[torch.Generator], shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Uniform numbers in [0, 1), (replica, *shape), each replica from its own generator."""
    rows = [torch.rand(tuple(shape), generator=each, dtype=torch.float64, device=each.device) for each in generators]
    return torch.stack(rows).to(dtype)
