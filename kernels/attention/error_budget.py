r"""How far each path may be from float64, and how far it is: the published error budget and its measurement.

Errors are counted in units of eps (of the dtype) times the *absolute evaluation* S of a quantity: its formula with
every term replaced by its absolute value and every logit's own rounding included. To first order, a logit computed from
d products carries at most (d + 2) eps D, D = 1 + scale sum_c |q_c k_c|, and with A_i = sum_l |g'_il| D_il / Z_i

.. math:: |\delta W_{ij}| \le \epsilon\,(d + n + 8)\,\bigl( |f'_{ij}| D_{ij}/Z_i + |W_{ij}| (1 + A_i) \bigr),

where n + 6 counts the roundings of the sums over n keys and of the functions. A first derivative passes through that
twice (once forward, once in delta), a second derivative twice more: the budgets are c, 2c, 2c and 4c for output,
gradient, forward mode and second gradient, c = n + d + 8, fixed by this count before anything was measured. Where S is
zero the result must be exactly zero. Inputs are rounded to the dtype first, so that only the computation is judged.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.cpu import map_of
from attnlab.kernels.attention.scores import SCORE_MAPS
from attnlab.kernels.attention.scores.f_over_g import FOverG

QUANTITIES = ("output", "gradient", "forward_mode", "second_gradient")
_PASSES = {"output": 1, "gradient": 2, "forward_mode": 2, "second_gradient": 4}


def budget(quantity: str, n_keys: int, head_dim: int) -> int:
    """Allowed error in units of eps times the absolute evaluation."""
    return _PASSES[quantity] * (n_keys + head_dim + 8)


def _normals(seed: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _case(n_q: int, n_k: int, d: int = 3, *, logit: float = 1.0, mask=None, change: Callable | None = None) -> dict:
    q, k, v = _normals(n_q + 10 * n_k, (9, n_q, d), (9, n_k, d), (9, n_k, 2 if d == 3 else d))
    if change is not None:
        q, k, v = change(q, k, v)
    return {"q": q, "k": k, "v": v, "scale": logit * d**-0.5, "mask": mask}


def _strided(x: Tensor) -> Tensor:
    """The same numbers with a gap between rows and a stride along the width."""
    room = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 3), torch.nan, dtype=x.dtype)
    room[..., 1 : 1 + 2 * x.shape[-1] : 2] = x
    return room[..., 1 : 1 + 2 * x.shape[-1] : 2]


def cases(score: str) -> dict[str, dict]:
    """Ordinary and nasty inputs in float64; other widths only for softmax, as every width is a build of its own."""
    some = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    found = {
        "ordinary": _case(6, 9),
        "causal": _case(9, 9, mask="causal"),
        "one query": _case(1, 9),
        "length one": _case(1, 1),
        "masked rows": _case(3, 5, mask=some),
        "huge logits": _case(4, 6, logit=3e3),
        "tiny logits": _case(4, 6, logit=1e-6),
        "equal logits": _case(4, 6, change=lambda q, k, v: (q, k[:, :1].expand_as(k).clone(), v)),
        "ties": _case(4, 6, logit=30.0, change=lambda q, k, v: (q, k[:, [0, 1, 2, 0, 1, 2]], v)),
        "zero keys": _case(4, 6, change=lambda q, k, v: (q, torch.zeros_like(k), v)),
        "strided": {**_case(6, 8), "strided": True},
    }
    if score == "softmax":
        found |= {"width 1": _case(4, 5, 1), "width 5": _case(4, 9, 5), "width 7": _case(4, 9, 7)}
    return found


def measure(path: str, dtype: torch.dtype, score: str, case: dict) -> dict[str, float]:
    """Largest error of each quantity in units of eps times S; infinity where S = 0 but the error is not."""
    inputs = [case[name].to(dtype).double() for name in "qkv"]
    if path == "sdpa":  # equal widths only
        inputs[2] = inputs[2][..., :1].expand_as(inputs[1]).clone()
    directions = [x.to(dtype).double() for x in _normals(7, *(x.shape for x in inputs))]
    g = _normals(8, (*inputs[0].shape[:-1], inputs[2].shape[-1]))[0].to(dtype).double()
    keep = {"score": score, "mask": case["mask"], "scale": case["scale"]}
    exact = _all(lambda *x: attention(*x, path="reference", **keep), inputs, directions, g)
    lower = [_strided(x.to(dtype)) if case.get("strided") else x.to(dtype) for x in inputs]
    found = _all(lambda *x: attention(*x, path=path, **keep), lower, [x.to(dtype) for x in directions], g.to(dtype))
    sizes = absolute_evaluation(SCORE_MAPS[score], case, inputs, directions, g)
    eps, tiny = torch.finfo(dtype).eps, torch.finfo(dtype).tiny
    worst = {}
    for name in QUANTITIES:
        ratios = [0.0]
        for a, b, s in zip(found[name], exact[name], sizes[name], strict=True):
            error = (a.double() - b).abs()
            # exp flushes numbers near the smallest normal one to zero, sums and two scales magnify that
            allowed = eps * s + torch.where(s > 0, tiny * 1e6 * (1 + case["scale"] ** 2), 0.0)
            bad = ~torch.isfinite(a) | ((s == 0) & (error > 0))
            allowed = torch.where(s > 0, allowed, 1.0)
            ratios.append(torch.where(bad, torch.inf, error / allowed).max().item() if a.numel() else 0.0)
        worst[name] = max(ratios)
    return worst


def _all(function: Callable, inputs: list[Tensor], directions: list[Tensor], g: Tensor) -> dict[str, list[Tensor]]:
    """Output, gradient, forward mode, and the gradient of <gradient, directions>."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    cotangent = g.clone().requires_grad_()
    o = function(*leaves)
    first = torch.autograd.grad(o, leaves, cotangent, create_graph=True)
    inner = sum((a * b).sum() for a, b in zip(first, directions, strict=True))
    second = torch.autograd.grad(inner, [*leaves, cotangent], allow_unused=True)
    second = [torch.zeros_like(x) if y is None else y for x, y in zip([*leaves, cotangent], second, strict=True)]
    tangent = torch.func.jvp(function, tuple(inputs), tuple(directions))[1]
    return {
        "output": [o.detach()],
        "gradient": [x.detach() for x in first],
        "forward_mode": [tangent.detach()],
        "second_gradient": second,
    }


def absolute_evaluation(score: FOverG, case: dict, inputs: list[Tensor], directions: list[Tensor], g: Tensor) -> dict:
    """S of every quantity, in float64."""
    q, k, v = inputs
    qt, kt, vt = (x.abs() for x in directions)
    scale = case["scale"]
    s = scale * q @ k.mT
    seen = torch.ones(s.shape[-2:], dtype=torch.bool)
    if case["mask"] is not None:
        seen = torch.ones_like(seen).tril(s.shape[-1] - s.shape[-2]) if isinstance(case["mask"], str) else case["mask"]
    visible = seen.expand(s.shape)
    m = score.level(s, visible)
    f, gg, f1, f2, g1, g2 = (
        torch.where(visible, x, 0.0).abs() for x in (score.f(s, m), score.g(s, m), *score.derivatives(s, m))
    )
    z = score.constant(m, visible.sum(-1, keepdim=True).double()) + gg.sum(-1, keepdim=True)
    u = torch.where(z == 0, 0.0, 1.0 / torch.where(z == 0, 1.0, z))
    q, k, v, g = q.abs(), k.abs(), v.abs(), g.abs()
    D = 1 + scale * q @ k.mT
    A = u * (g1 * D).sum(-1, keepdim=True)
    W = u * (f1 * D + f * (1 + A))  # weights with the errors of their logits
    f1, g1 = f1 * (1 + A) + f2 * D, g1 * (1 + A) + g2 * D  # derivatives likewise
    f2, g2 = f2 * (1 + A) + (f2 + f1) * D, g2 * (1 + A) + (g2 + g1) * D
    dp, b, a = g @ v.mT, g @ vt.mT, scale * (qt @ k.mT + q @ kt.mT)
    delta = (W * dp).sum(-1, keepdim=True)
    ds = u * (f1 * dp + g1 * delta)
    At = u * (g1 * a).sum(-1, keepdim=True)
    wt = u * f1 * a + W * At
    X, B = (u * f1 * a * dp).sum(-1, keepdim=True), (W * b).sum(-1, keepdim=True)
    ds2 = u * (f2 * a * dp + f1 * (b + At * dp) + delta * g2 * a + g1 * (2 * delta * At + X + B))
    return {
        "output": [W @ v],
        "gradient": [scale * ds @ k, scale * ds.mT @ q, W.mT @ g],
        "forward_mode": [wt @ v + W @ vt],
        "second_gradient": [scale * (ds2 @ k + ds @ kt), scale * (ds2.mT @ q + ds.mT @ qt), wt.mT @ g, wt @ v + W @ vt],
    }


def combinations(triton: bool = False) -> list[tuple[str, torch.dtype, str]]:
    """Every (path, dtype, score map) with a budget; the reference in float64 is the yardstick itself.

    ``triton``: those of the Triton path, which runs on a GPU or in its interpreter.
    """
    family = [name for name, score in SCORE_MAPS.items() if isinstance(score, FOverG)]
    if triton:
        return [
            ("gpu", dtype, name)
            for dtype in (torch.float32, torch.float64)
            for name in family
            if map_of(SCORE_MAPS[name])
        ]
    out = [("c", dtype, name) for dtype in (torch.float32, torch.float64) for name in family]
    out += [("sdpa", dtype, "softmax") for dtype in (torch.float32, torch.float64)]
    return out + [("reference", torch.float32, name) for name in family]


def worst_over_cases(
    path: str, dtype: torch.dtype, score: str, only: tuple[str, ...] = ()
) -> dict[str, tuple[float, float, str]]:
    """For each quantity: the largest share of the budget as (error, share, case); ``only`` restricts the cases."""
    worst = {name: (0.0, 0.0, "") for name in QUANTITIES}
    for label, case in cases(score).items():
        if only and label not in only:
            continue
        if path == "sdpa" and label == "masked rows":  # that path does not take rows without a key
            continue
        for name, error in measure(path, dtype, score, case).items():
            share = error / budget(name, case["k"].shape[-2], case["q"].shape[-1])
            if share >= worst[name][1]:
                worst[name] = (error, share, label)
    return worst


def table(rows: list[tuple[str, torch.dtype, str]]) -> str:
    """The rows of docs/error_budget.md: measured worst error / share of the budget, for every combination."""
    lines = [
        "| path | dtype | score map | " + " | ".join(name.replace("_", " ") for name in QUANTITIES) + " |",
        "|---|---|---|" + "---|" * len(QUANTITIES),
    ]
    for path, dtype, score in rows:
        found = worst_over_cases(path, dtype, score)
        cells = [f"{error:.2g} ({100 * share:.0f} %)" for error, share, _ in (found[name] for name in QUANTITIES)]
        lines.append(f"| {path} | {str(dtype)[6:]} | {score} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(combinations(triton=os.environ.get("TRITON_INTERPRET") == "1")))
