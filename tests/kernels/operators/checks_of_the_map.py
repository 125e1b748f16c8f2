"""Checks of what the map is: axes, matrix, places of queries, row sums, causality, reach, content, symmetries and rank."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace

import torch
from torch import Tensor

from attnlab.kernels.operators.operator import QKV, Cache, Graph

from .given import (
    BATCH,
    EPS,
    REPLICAS,
    SMALL,
    VISIBLE,
    causal_forms,
    close,
    draw_of,
    far,
    main_tensors,
    make,
    parameters_of,
    run,
    with_tokens_moved,
)


def axes(operator):
    """A stack of replicas and batches equals the stack of single calls, also an empty one; a NaN in one replica stays there."""
    inputs, parameters, draw = make(operator), parameters_of(operator), draw_of(operator)
    for causal in causal_forms(operator):
        whole = operator.apply(inputs, parameters, causal=causal, draw=draw)
        for r, b in itertools.product(range(REPLICAS), range(BATCH)):
            one = replace(
                inputs,
                **{name: x[r : r + 1, b : b + 1] for name, x in main_tensors(inputs).items()},
                **_edges(inputs, b),
            )
            own = {name: x[r : r + 1] for name, x in parameters.items()}
            single = operator.apply(one, own, causal=causal, draw=None if draw is None else draw[r : r + 1])
            assert close(single[0, 0], whole[r, b]), "a single call differs from its row in the stack: keep axes apart"
        empty = replace(
            inputs,
            **{name: x[:, :0] for name, x in main_tensors(inputs).items()},
            **({"edges": inputs.edges[:0]} if isinstance(inputs, Graph) else {}),
        )
        found = operator.apply(empty, parameters, causal=causal, draw=draw)
        assert found.shape == whole[:, :0].shape, f"an empty batch has outputs {tuple(found.shape)}"
    bad = replace(inputs, **{name: x.clone() for name, x in main_tensors(inputs).items()})
    for x in main_tensors(bad).values():
        x[1] = math.nan
    spoilt = operator.apply(bad, parameters, draw=draw)
    # to rounding: without C kernels a NaN anywhere makes the whole call take the guarded form of the formula
    assert close(spoilt[0], run(operator, inputs, parameters, draw=draw)[0]), "a NaN of one replica reaches another"


def _edges(inputs, b):
    return {"edges": inputs.edges[b : b + 1]} if isinstance(inputs, Graph) else {}


def matrix(operator):
    """post(matrix @ values) = apply; with ``no_matrix``, superposition of the tokens must fail."""
    inputs, parameters, draw = make(operator), parameters_of(operator), draw_of(operator)
    for causal in causal_forms(operator):
        y = operator.apply(inputs, parameters, causal=causal, draw=draw)
        if operator.no_matrix:
            assert not _acts_alike_on_channels(operator, inputs, parameters, draw, causal), (
                "the operator mixes tokens by one matrix for all channels: write matrix() instead of no_matrix"
            )
            continue
        M = operator.matrix(inputs, parameters, causal=causal, draw=draw)
        found = operator.post(M @ operator.values(inputs, parameters), inputs, parameters)
        assert close(found, y), "post(matrix @ values) is not apply"


def _acts_alike_on_channels(operator, inputs, parameters, draw, causal) -> bool:
    if hasattr(inputs, "v"):
        mix = torch.randn(inputs.v.shape[-1], inputs.v.shape[-1], generator=torch.Generator().manual_seed(8)).to(
            inputs.v
        )
        first = operator.apply(replace(inputs, v=inputs.v @ mix), parameters, causal=causal, draw=draw)
        return not far(first, operator.apply(inputs, parameters, causal=causal, draw=draw) @ mix)
    other = make(operator, seed=11)
    both = replace(inputs, x=inputs.x + other.x)
    none = replace(inputs, x=0 * inputs.x)
    f = [operator.apply(each, parameters, causal=causal, draw=draw) for each in (both, inputs, other, none)]
    return not far(f[0] + f[3], f[1] + f[2])


def last_queries(operator):
    """The last queries alone get the last rows of the whole call, from apply and from matrix, or are refused by name.

    So are more queries than keys, or those before the first key, which see none, get 0 in the causal form.
    """
    inputs, parameters, draw = make(operator), parameters_of(operator), draw_of(operator)
    if not hasattr(inputs, "q"):
        return
    calls = [operator.apply] if operator.no_matrix else [operator.apply, operator.matrix]
    for causal, call, n in itertools.product(causal_forms(operator), calls, (1, 2)):
        whole = call(inputs, parameters, causal=causal, draw=draw)[..., -n:, :]
        own = draw if draw is None else draw[:, -operator.facts.n_uniform(replace(SMALL, n_q=n)) :]
        part = replace(inputs, q=inputs.q[..., -n:, :], **_past(inputs, n))
        try:
            found = call(part, parameters, causal=causal, draw=own)
        except ValueError as error:
            assert re.match("q(, k, v)? ha(s|ve) ", str(error)), f"the refusal does not name the queries: {error}"
            continue
        assert close(found, whole), (
            f"the last {n} of {SMALL.n} queries alone do not get the last rows of {call.__name__}, causal={causal}: count "
            "places from the last key (query_places, visible_past), or refuse with one_query_per_key"
        )
    sizes = replace(SMALL, n=3, n_q=5)
    inputs, parameters, draw = make(operator, sizes), parameters_of(operator, sizes), draw_of(operator, sizes)
    for causal, call in itertools.product(causal_forms(operator), calls):
        try:
            found = call(inputs, parameters, causal=causal, draw=draw)
        except ValueError as error:
            assert re.match("q(, k, v)? ha(s|ve) ", str(error)), f"the refusal does not name the queries: {error}"
            continue
        assert found.shape[-2] == 5 and found.isfinite().all(), f"5 queries of 3 keys: {call.__name__} is not finite"
        if causal:
            assert not found[..., :2, :].any(), (
                f"queries before the first key see none: {call.__name__} must be 0 there"
            )


def _past(inputs, n):
    return {"n_past": inputs.k.shape[-2] - n} if isinstance(inputs, Cache) else {}


def row_sums(operator):
    """The declared sums of rows (or columns) hold; "free" is seen to differ from 1."""
    if operator.no_matrix:
        return
    word, draw = operator.facts.row_sum, draw_of(operator)
    inputs, parameters = make(operator), parameters_of(operator)
    for causal in causal_forms(operator):
        M = operator.matrix(inputs, parameters, causal=causal, draw=draw)
        rows = M.sum(-1)
        if word == "free":
            assert ((rows - 1).abs() > VISIBLE).any(), "rows sum to 1: declare row_sum=1.0"
        elif word == "at most 1":
            assert (rows <= 1 + 1e4 * EPS).all() and ((rows - 1).abs() > VISIBLE).any(), "rows do not stay below 1"
        elif word == "l1 one":
            assert close(M.abs().sum(-1), torch.ones_like(rows)), "absolute values of rows do not sum to 1"
            assert ((rows - 1).abs() > VISIBLE).any(), "no weight is negative: declare row_sum=1.0"
        elif word == "columns one":
            if not causal:
                assert close(M.sum(-2), torch.ones_like(M.sum(-2))), "columns do not sum to 1"
                assert ((rows - 1).abs() > VISIBLE).any(), "rows sum to 1, too: declare row_sum=1.0"
        else:
            target = word(SMALL) if callable(word) else float(word)
            assert close(rows, torch.full_like(rows, target)), f"rows do not sum to {target}"


def causality(operator):
    """Tokens after t leave outputs up to t bit-identical; where no causal form is declared, one is refused by name."""
    inputs, parameters, draw = make(operator), parameters_of(operator), draw_of(operator)
    other = make(operator, seed=2)
    changed = {}
    for name, x in main_tensors(inputs).items():
        x = x.clone()
        x[..., 3:, :] = main_tensors(other)[name][..., 3:, :]
        changed[name] = x
    changed = replace(inputs, **changed)
    if operator.facts.causal == "none":
        y, z = (operator.apply(each, parameters, draw=draw) for each in (inputs, changed))
        shared = min(3, y.shape[-2])
        assert far(z[..., :shared, :], y[..., :shared, :]), "no output depends on later tokens: declare a causal form"
        try:
            operator.apply(inputs, parameters, causal=True, draw=draw)
        except ValueError as error:
            assert "causal" in str(error), "the refusal of causal=True must name it"
            return
        raise AssertionError("causal=True must be refused with facts.causal_reason (self.not_causal(causal))")
    y, z = (operator.apply(each, parameters, causal=True, draw=draw) for each in (inputs, changed))
    assert torch.equal(y[..., :3, :], z[..., :3, :]), "an output depends on a later token"
    assert far(z[..., 3:, :], y[..., 3:, :])


def influence(operator, sizes=SMALL, causal=False, seed=1) -> Tensor:
    """Largest |d y_i / d x_j| over channels, (query, token), of the first problem."""
    inputs, parameters, draw = make(operator, sizes, seed), parameters_of(operator, sizes), draw_of(operator, sizes)
    names = list(main_tensors(inputs))
    moved = [main_tensors(inputs)[name].clone().requires_grad_() for name in names]
    y = operator.apply(replace(inputs, **dict(zip(names, moved, strict=True))), parameters, causal=causal, draw=draw)
    rows = y[0, 0].reshape(-1, y.shape[-2], y.shape[-1]) if y.ndim == 5 else y[0, 0][None]
    total = torch.zeros(y.shape[-2], sizes.n, dtype=torch.float64)
    for i in range(y.shape[-2]):
        for value in rows[:, i].flatten():
            grads = torch.autograd.grad(value, moved, retain_graph=True, allow_unused=True)
            for name, g in zip(names, grads, strict=True):
                if g is not None and not (name == "q" and g.shape[-2] != sizes.n):
                    size = g[0, 0].abs().amax(-1)
                    total[i] = torch.maximum(total[i], size.amax(0) if size.ndim == 2 else size)
    return total


def reach(operator):
    """No influence beyond the declared reach, some at it; influence of all tokens where none is declared."""
    if not operator.facts.smooth or operator.kind == "select":
        return
    sizes = replace(SMALL, n=8, shape=(2, 4)) if operator.facts.n_max is None else SMALL
    J = influence(operator, sizes)
    distance = (torch.arange(J.shape[0])[:, None] - torch.arange(J.shape[1])[None]).abs()
    if operator.facts.reach is None:
        assert J.shape[0] != J.shape[1] or (J > 0).any(0).all(), "some token has no influence: declare reach"
        return
    limit = operator.facts.reach(sizes)
    assert (J[distance > limit] == 0).all(), f"influence beyond the declared reach {limit}"
    assert (J[distance == limit] > 0).any(), f"no influence at the declared reach {limit}: it is smaller"


def seen_whole(inputs):
    """A graph with all its edges: what is not seen has no rank; other inputs as they are."""
    return replace(inputs, edges=torch.ones_like(inputs.edges)) if isinstance(inputs, Graph) else inputs


def content(operator):
    """What the map reads, as declared."""
    word, draw = operator.facts.content, draw_of(operator)
    if operator.no_matrix or word in ("summary", "nonlinear"):
        return
    inputs, parameters = seen_whole(make(operator)), parameters_of(operator)
    M, N = (operator.matrix(each, parameters, draw=draw) for each in (inputs, seen_whole(make(operator, seed=2))))
    if word == "none":
        assert close(M, N), "the map depends on the tokens: content is not 'none'"
        return
    assert far(M, N), "the map does not depend on the tokens: declare content='none'"
    order = M.argsort(-1)
    one_ranking = bool((order == order[..., :1, :]).all())
    if word == "key":
        assert one_ranking, "queries rank the keys differently: content is not 'key'"
    elif word == "query":
        assert hasattr(inputs, "k"), "content='query' needs queries and keys of their own"
        assert close(operator.matrix(replace(inputs, k=make(operator, seed=2).k), parameters, draw=draw), M)
    else:
        rankings = [
            operator.matrix(seen_whole(make(operator, seed=s)), parameters, draw=draw).argmax(-1) for s in range(1, 6)
        ]
        assert any((each != each[..., :1]).any() for each in rankings), (
            "all queries prefer one key: content is not 'pair'"
        )
        assert not one_ranking, "one ranking of keys for all queries: content is 'key'"


def equivariance(operator):
    """Each declared symmetry holds to rounding, each undeclared one is violated on generic inputs."""
    if operator.kind == "graph":
        return
    inputs, parameters, draw = make(operator), parameters_of(operator), draw_of(operator)
    n, declared = SMALL.n, operator.facts.symmetries
    y = operator.apply(inputs, parameters, draw=draw)
    order = torch.tensor([2, 0, 5, 1, 4, 3])
    if y.shape[-2] == n:
        found = operator.apply(with_tokens_moved(inputs, lambda x: x[..., order, :]), parameters, draw=draw)
        _symmetry("permutation", found, y[..., order, :], declared)
        if operator.kind == "grid":
            rows, columns = SMALL.shape
            index = torch.arange(n).reshape(rows, columns).roll((1, 1), (0, 1)).flatten()
        else:
            index = torch.arange(n).roll(1)
        found = operator.apply(with_tokens_moved(inputs, lambda x: x[..., index, :]), parameters, draw=draw)
        _symmetry("circular shift", found, y[..., index, :], declared)
    elif "permutation" in declared:
        found = operator.apply(with_tokens_moved(inputs, lambda x: x[..., order, :]), parameters, draw=draw)
        _symmetry("permutation", found, y, declared)
    if isinstance(inputs, (QKV, Cache)):
        R = torch.linalg.qr(
            torch.randn(SMALL.d, SMALL.d, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        )[0]
        found = operator.apply(replace(inputs, q=inputs.q @ R, k=inputs.k @ R), parameters, draw=draw)
        _symmetry("rotation", found, y, declared)
    for name in ("interior shift", "shift"):
        if name in operator.facts.equivariant or (name not in declared and y.shape[-2] == n):
            _symmetry(name, *_shifted(operator, parameters, name), declared)


def _shifted(operator, parameters, name):
    """Outputs of a long sequence and of the same sequence moved by one place, at places where both can agree."""
    if name == "interior shift" and operator.kind != "grid":
        sizes = SMALL
        if operator.facts.reach is not None and operator.facts.n_max is None:  # long enough to have an interior
            sizes = replace(SMALL, n=max(SMALL.n, 2 * operator.facts.reach(SMALL) + 4))
        inputs = make(operator, sizes)
        moved = with_tokens_moved(inputs, lambda x: x.roll(1, -2))
        y, z = (operator.apply(each, parameters, draw=draw_of(operator, sizes)) for each in (inputs, moved))
        r = 1 if operator.facts.reach is None else operator.facts.reach(sizes)
        inside = slice(r, sizes.n - 1 - r)
        return z[..., 1:, :][..., inside, :], y[..., :-1, :][..., inside, :]
    if name == "interior shift":
        rows, columns = 10, 11
        sizes = replace(SMALL, n=rows * columns, shape=(rows, columns))
        inputs, parameters = make(operator, sizes), parameters_of(operator, sizes)
        roll = torch.arange(rows * columns).reshape(rows, columns).roll((1, 1), (0, 1)).flatten()
        moved = with_tokens_moved(inputs, lambda x: x[..., roll, :])
        y, z = (operator.apply(each, parameters, draw=None) for each in (inputs, moved))
        r = 4 if operator.facts.reach is None else min(operator.facts.reach(SMALL), 4)
        y, z = (each.reshape(*each.shape[:-2], rows, columns, each.shape[-1]) for each in (y, z))
        return z[..., r + 1 : rows - r, r + 1 : columns - r, :], y[..., r : rows - 1 - r, r : columns - 1 - r, :]
    # "shift": on tokens that are all alike, log-weights differ by a function of the offset and of the row alone
    inputs = make(operator, replace(SMALL, shape=(3, 2)))  # three rows: of two, each offset is met once
    same = with_tokens_moved(inputs, lambda x: x[..., :1, :].expand_as(x).contiguous())
    if operator.no_matrix:
        return torch.zeros(0), torch.zeros(0)  # no map to look at
    both = [same, replace(same, k=-same.k)] if hasattr(same, "k") else [same]  # scores of either sign
    M = torch.stack([operator.matrix(each, parameters, draw=draw_of(operator)).abs() for each in both])
    gap = torch.where(
        M > 0, (M / M.diagonal(dim1=-2, dim2=-1)[..., None].clamp(min=1e-300)).clamp(min=1e-300).log(), -1e3
    )  # hidden: alike
    return gap[..., 1:, 1:], gap[..., :-1, :-1]


def _symmetry(name, found, wanted, declared):
    if name in declared:
        assert close(found, wanted), f"the declared symmetry {name!r} is broken"
    elif found.numel():
        assert far(found, wanted), f"the symmetry {name!r} holds: declare it in facts.equivariant"


def rank(operator):
    """The numerical rank of the map stays below the bound at three sizes, and reaches it on generic inputs."""
    if operator.no_matrix:
        return
    for n in (5, 6, 12):
        if operator.facts.n_max is not None and n > operator.facts.n_max:
            continue
        sizes = replace(SMALL, n=n, d=3, shape=(n // 3, 3) if n % 3 == 0 else (1, n))
        inputs, parameters = make(operator, sizes), parameters_of(operator, sizes)
        M = operator.matrix(inputs, parameters, draw=draw_of(operator, sizes))
        found = int(torch.linalg.matrix_rank(M, rtol=1e-10).max())
        full = min(M.shape[-2:])
        bound = full if operator.facts.rank is None else operator.facts.rank(sizes)
        assert found <= bound, f"rank {found} at n={n} exceeds the declared {bound}"
        assert found == min(bound, full), f"rank {found} at n={n}, the declared {bound} is not reached: it is too large"
