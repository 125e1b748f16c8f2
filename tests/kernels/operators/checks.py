"""The one test of the atlas, check by check: what an operator declares is true, and what it does not declare is false.

Every check is a function of an operator; it returns nothing or raises ``AssertionError`` with what to do. Float64 unless said.
"""

from __future__ import annotations

from dataclasses import fields, replace
from importlib import import_module

import pytest
import torch
from torch import Tensor

from attnlab.kernels.compiled.compiler import compiler_report
from attnlab.kernels.compiled.counters import counting
from attnlab.kernels.operators.operator import QKV, Cache, Graph, Grid, Sizes, Tokens

from .checks_of_the_map import axes, causality, content, equivariance, last_queries, matrix, rank, reach, row_sums
from .given import (
    BATCH,
    EPS,
    REPLICAS,
    SMALL,
    UNREAD,
    causal_forms,
    close,
    draw_of,
    main_tensors,
    make,
    parameters_of,
    run,
    with_tokens_moved,
)


def low_precision(operator):
    """float32 against float64, within the member's budget, on scores of size 1 and of size 1000."""
    for scale in (1.0, 30.0):
        inputs = make(operator, scale=scale)
        parameters, draw = parameters_of(operator), draw_of(operator)
        single = with_tokens_moved(inputs, Tensor.float)
        single = replace(
            single, **{k: getattr(inputs, k).float() for k in ("weights",) if getattr(inputs, k, None) is not None}
        )
        low = operator.apply(
            single, {k: x.float() for k, x in parameters.items()}, draw=None if draw is None else draw.float()
        )
        exact = with_tokens_moved(single, Tensor.double)
        exact = replace(
            exact, **{k: getattr(single, k).double() for k in ("weights",) if getattr(single, k, None) is not None}
        )
        high = operator.apply(
            exact,
            {k: x.float().double() for k, x in parameters.items()},
            draw=None if draw is None else draw.float().double(),
        )
        assert low.dtype == torch.float32, "float32 inputs must give float32"
        assert torch.isfinite(low).all(), f"float32 overflows at scale {scale}"
        error = (low.double() - high).abs().max() / max(high.abs().max().item(), 1e-6)
        assert error <= operator.budget * scale**2, (
            f"float32 is off by {error:.1e} at scale {scale}, budget {operator.budget}"
        )


def gradients(operator):
    """First and second derivatives are right where the operator is smooth; every trained parameter gets a gradient."""
    sizes = Sizes(n=3, d=2, d_v=2, n_heads=operator.least_heads, shape=(1, 3))
    inputs, parameters, draw = make(operator, sizes, replicas=1), parameters_of(operator, sizes, replicas=1), None
    draw = draw_of(operator, sizes, replicas=1)
    names, trained = list(main_tensors(inputs)), [k for k in parameters if k not in operator.frozen_parameters]

    def f(*tensors):
        own = parameters | dict(zip(trained, tensors[len(names) :], strict=True))
        moved = replace(inputs, **dict(zip(names, tensors, strict=False)))
        return operator.apply(moved, own, draw=draw)[:, :1]

    given = [main_tensors(inputs)[name][:, :1].clone().requires_grad_() for name in names]
    given += [parameters[name].clone().requires_grad_() for name in trained]
    if isinstance(inputs, Graph):
        inputs = replace(inputs, edges=inputs.edges[:1])
    if operator.facts.smooth:
        assert torch.autograd.gradcheck(f, given, atol=1e-6, rtol=1e-4), "wrong first derivatives"
        assert torch.autograd.gradgradcheck(f, given, atol=1e-5, rtol=1e-3), "wrong second derivatives"
    weights = torch.randn(f(*given).shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    grads = torch.autograd.grad((f(*given) * weights).sum(), given, allow_unused=True)
    unread = UNREAD.get(operator.facts.content, ()) if isinstance(inputs, QKV) else ()
    for name, g in zip(names + trained, grads, strict=True):
        if name in unread:
            assert g is None or not g.any(), f"a gradient reaches {name!r}, which the map does not read"
        else:
            assert g is not None and g.abs().max() > 0, f"no gradient reaches {name!r}"


def limits(operator):
    """Where it is another operator, it is that to rounding."""
    for limit in operator.limits:
        this, other = limit.this(), limit.other()
        inputs = make(this)
        if limit.prepare is None:
            own, rival = parameters_of(this, generic=False), parameters_of(other, generic=False)
        else:
            inputs, own, rival = limit.prepare(inputs, parameters_of(this, generic=False))
        a = this.apply(inputs, own, causal=limit.causal, draw=draw_of(this))
        b = other.apply(inputs, rival, causal=limit.causal, draw=draw_of(other))
        assert close(a, b), f"at {limit.when!r} it is not {type(other).__name__}"


def recurrence(operator):
    """Token by token equals all at once, also in two pieces; the state has the stated number of numbers, whatever n."""
    if not operator.recurrent():
        return
    inputs, parameters = make(operator), parameters_of(operator)
    whole = operator.apply(inputs, parameters, causal=operator.facts.causal != "none", draw=draw_of(operator))
    at = [with_tokens_moved(inputs, lambda x, t=t: x[..., t, :]) for t in range(SMALL.n)]
    state, outputs, sizes = operator.start(at[0]), [], []
    for token in at:
        state, y = operator.step({k: x.clone() for k, x in state.items()}, token, parameters)
        outputs.append(y)
        sizes.append(sum(x.numel() for x in state.values()))
    assert close(torch.stack(outputs, -2), whole), "the recurrent form is not the parallel one"
    assert len(set(sizes)) == 1, "the state grows with the number of tokens"
    problems = whole[..., 0, 0].numel()
    stated = theory_of(operator).state_numbers(SMALL, **numbers_of(operator))
    assert sizes[0] == stated * problems, (
        f"the state has {sizes[0] / problems:g} numbers per problem, theory says {stated}"
    )


def theory_of(operator):
    """The module of the same path in theory/: law and cost."""
    if hasattr(operator, "law"):  # planted members carry theirs
        return operator.law
    path = type(operator).__module__.removeprefix("attnlab.kernels.operators.")
    try:
        return import_module(f"attnlab.theory.{path}")
    except ModuleNotFoundError:
        raise AssertionError(f"theory/{path.replace('.', '/')}.py is missing: write its law and its cost") from None


def numbers_of(operator) -> dict:
    """The operator's fields: plain numbers, which its functions in theory take by name."""
    return {each.name: getattr(operator, each.name) for each in fields(operator)}


def cost(operator):
    """Counted multiply-adds equal the formula of theory, at three sizes (32 problems fill the lanes of every vector)."""
    if compiler_report()["compiler"] is None:
        pytest.skip("work is counted by the compiled path, which needs a C compiler")
    law = theory_of(operator)
    for n in (4, 6, 9):
        sizes = Sizes(n=n, d=4, d_v=3, n_heads=8, shape=(1, n))
        if operator.facts.n_max is not None and n > operator.facts.n_max:
            continue
        for causal in causal_forms(operator):
            inputs, parameters = make(operator, sizes), parameters_of(operator, sizes)
            draw = draw_of(operator, sizes)
            operator.apply(inputs, parameters, causal=causal, draw=draw)
            with counting() as work:
                operator.apply(inputs, parameters, causal=causal, draw=draw)
            assert not work.unopened, f"{', '.join(work.unopened)} does not tell its work: take a path that counts"
            wanted = law.multiply_adds(sizes, causal=causal, **numbers_of(operator)) * REPLICAS * BATCH
            assert work.multiply_adds == wanted, (
                f"counted {work.multiply_adds} multiply-adds at n={n}, theory says {wanted}"
            )


def seeds(operator):
    """Equal draws give equal bits, other draws differ, and the global generator is untouched."""
    before = torch.get_rng_state()
    a, b = run(operator), run(operator)
    assert torch.equal(a, b), "two calls with the same draw differ"
    assert torch.equal(before, torch.get_rng_state()), "the global generator was used: take numbers from draw"
    if operator.facts.n_uniform is not None:
        assert not torch.equal(a, run(operator, draw=draw_of(operator, seed=4))), "the draw changes nothing"
    if hasattr(operator, "expectation"):
        inputs, parameters = make(operator, replicas=1), parameters_of(operator, replicas=1)
        draws = draw_of(operator, replicas=4000)
        many = torch.stack([operator.apply(inputs, parameters, draw=each[None]) for each in draws])
        error = (many.mean(0) - operator.expectation(inputs, parameters)).abs() / (many.std(0) / len(many) ** 0.5 + EPS)
        assert error.max() < 5, f"the declared expectation is {error.max():.1f} standard errors away"


def errors(operator):
    """Inputs of another kind and shape are refused by name."""
    inputs, parameters = make(operator), parameters_of(operator)
    wrong = [Tokens(torch.zeros(1, 1, 2, 2)) if not isinstance(inputs, Tokens) else QKV(*(torch.zeros(1, 2, 2),) * 3)]
    if isinstance(inputs, (QKV, Cache)):
        wrong += [replace(inputs, k=inputs.k[..., :-1]), replace(inputs, v=inputs.v[..., :-1, :])]
    if isinstance(inputs, Grid):
        wrong += [replace(inputs, shape=(5, 5))]
    for each in wrong:
        try:
            operator.apply(each, parameters, draw=draw_of(operator))
        except ValueError as error:
            assert any(word in str(error) for word in ("takes", "width", "value per key", "cells")), error
        else:
            raise AssertionError("wrong inputs are not refused: begin apply with checked(inputs, self)")


CHECKS = {
    each.__name__: each
    for each in (
        axes, matrix, last_queries, row_sums, causality, reach, content, equivariance, rank, low_precision, gradients,
        limits, recurrence, cost, seeds, errors,
    )
}  # fmt: skip
