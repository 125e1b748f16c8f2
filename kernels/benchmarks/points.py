"""Is ``attention()`` ever the slower choice? Random sizes, each against the best that a program in plain torch would do.

A point is a size, a kind (one query, causal, full), a dtype, a pass (forward, or both) and a situation: what the call asks for
beyond the softmax of torch's fused attention. Candidates of a point run in turn (``timing.paired``); a point at which this
package is over its limit is timed again, with three times the rounds, and the second timing counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from attnlab.kernels.attention import attention
from attnlab.kernels.attention.masks import Window
from attnlab.kernels.benchmarks.timing import paired

#: What is asked for: "softmax" is compared with torch's fused attention alone, the others with the best plain program.
SITUATIONS = (
    "softmax",
    "constant bias",
    "mask per problem",
    "value width 1",
    "entropy",
    "sigmoid",
    "relu",
    "band mask",
    "second order",
)
#: problems x keys^2 x width of a point.
LARGEST = 1 << 33
#: Entries of the weights that a plain program may hold; larger points have torch's fused attention as the only rival, or none.
MOST_WEIGHTS = 1 << 27
WEIGHTS = {"second order": 1 << 25, "entropy": MOST_WEIGHTS, "sigmoid": MOST_WEIGHTS, "relu": MOST_WEIGHTS}
#: How much slower than torch's fused attention a call may be: a share, and seconds of a call's fixed cost.
SHARE, FIXED = 0.1, 20e-6
sdpa = torch.nn.functional.scaled_dot_product_attention


@dataclass(frozen=True)
class Point:
    """One comparison: ``heads`` divides ``problems``; q is (problems/heads, heads, queries, width)."""

    situation: str
    problems: int
    heads: int
    queries: int
    tokens: int
    width: int
    kind: str
    dtype: str
    passes: str


def draw(n: int, situations: Iterable[str] = SITUATIONS, seed: int = 0, largest: int = LARGEST) -> Iterator[Point]:
    """``n`` points for each situation; sizes are log-uniform, with problems x keys^2 x width up to ``largest``."""
    random = np.random.default_rng(seed)

    def size(low: int, high: int) -> int:
        return min(high, int(math.exp(random.uniform(math.log(low), math.log(high + 1)))))

    for _ in range(n):
        while True:
            problems, tokens, width = size(1, 4096), size(2, 4096), size(1, 128)
            if problems * tokens**2 * width <= largest:
                break
        heads = int(random.choice([h for h in (1, 2, 4, 8) if problems % h == 0]))
        kind = ("query", "causal", "full")[int(random.integers(3))]
        dtype = ("float32", "float64")[int(random.integers(2))]
        passes = ("forward", "both")[int(random.integers(2))]
        for situation in situations:
            queries = 1 if kind == "query" else tokens
            if problems * queries * tokens > WEIGHTS.get(situation, LARGEST):
                continue  # nothing to compare with
            yield Point(situation, problems, heads, queries, tokens, width, kind, dtype, passes)


def records(
    points: Iterable[Point], rounds: int = 9, say: Callable[[str], None] = lambda text: None
) -> list[dict[str, object]]:
    """A record a point: median times of "auto" and of the best rival, its name, the median ratio, and whether it is over."""
    found = []
    for point in points:
        runs = candidates(point)
        record = _timed(point, runs, rounds)
        if record["over"]:
            record = {**_timed(point, runs, 3 * rounds), "again": True}
        found.append(record)
        if record["over"]:
            say(f"{len(found)}: {record}")
    return found


def _timed(point: Point, runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, object]:
    seconds = paired(runs, rounds)
    ours = seconds.pop("auto")
    best = min(seconds, key=lambda name: float(np.median(seconds[name])))
    ratio = float(np.median(seconds[best] / ours))
    mine, other = float(np.median(ours)), float(np.median(seconds[best]))
    if point.situation == "softmax":
        over = mine > (1 + SHARE) * other + FIXED
    else:
        over = ratio < (1.0 - SHARE if point.situation != "second order" else 1.0)
    return {**asdict(point), "best": best, "auto_us": 1e6 * mine, "best_us": 1e6 * other, "speed": ratio, "over": over}


def candidates(point: Point) -> dict[str, Callable[[], object]]:
    """ "auto" and its rivals, each as one call without arguments."""
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, point.dtype)
    lead = (point.problems // point.heads, point.heads)
    n_q, n, d = point.queries, point.tokens, point.width
    d_v = 1 if point.situation == "value width 1" else d

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    q, k, v = normal(*lead, n_q, d), normal(*lead, n, d), normal(*lead, n, d_v)
    causal = point.kind == "causal"
    ours, rivals = _programs(point, normal, causal, n_q, n, lead)
    if point.situation == "second order":
        return _second_order(q, k, v, normal, ours, rivals)
    if point.situation == "entropy":
        return _entropies(point, q, k, v, normal, causal, rivals)
    if point.passes == "forward":
        return {name: lambda f=f: f(q, k, v) for name, f in {"auto": ours, **rivals}.items()}
    g = normal(*lead, n_q, d_v)
    operands = [x.requires_grad_() for x in (q, k, v)]
    return {
        name: lambda f=f: torch.autograd.grad(f(*operands), operands, g) for name, f in {"auto": ours, **rivals}.items()
    }


def _programs(point, normal, causal, n_q, n, lead):
    """This package's call, and the programs that a user of plain torch would write."""
    situation = point.situation
    fits = point.problems * n_q * n <= MOST_WEIGHTS
    mask = "causal" if causal else None
    hidden = torch.ones(n_q, n, dtype=torch.bool).triu(1 + n - n_q) if causal else None
    score = situation if situation in ("sigmoid", "relu") else "softmax"
    bias = shown = None
    if situation == "constant bias":
        bias = normal(n_q, n)
    elif situation == "mask per problem":
        shown = normal(*lead, n_q, n) > 0 if fits else normal(lead[0], 1, n_q, n) > 0
        shown[..., 0] = True
        mask = shown if hidden is None else shown & ~hidden
        shown = mask
    elif situation == "band mask":
        mask = Window(max(1, n // 8), 0 if causal else max(1, n // 8))
        shown = mask.visible(n_q, n)
    options = {"score": score, "mask": mask, "bias": bias}

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention(q, k, v, **options)

    rivals: dict[str, Callable[..., Tensor]] = {}
    if score == "softmax":
        if bias is not None:
            additive = bias if hidden is None else bias.masked_fill(hidden, -torch.inf)
        else:
            additive = shown
        alone = causal and additive is None
        rivals["torch sdpa"] = lambda q, k, v: sdpa(q, k, v, attn_mask=additive, is_causal=alone)
        if situation == "band mask":  # always the same, so that a program may keep it as it is added
            floats = torch.zeros(additive.shape, dtype=getattr(torch, point.dtype)).masked_fill(~additive, -torch.inf)
            rivals["torch sdpa, additive"] = lambda q, k, v: sdpa(q, k, v, attn_mask=floats)
    if fits and (situation != "softmax"):
        away = hidden if shown is None else ~shown
        rivals["torch eager"] = lambda q, k, v: _eager(q, k, v, score, bias, away)
    return ours, rivals


def _eager(q: Tensor, k: Tensor, v: Tensor, score: str, bias: Tensor | None, hidden: Tensor | None) -> Tensor:
    """Three lines of torch."""
    s = q @ k.mT / math.sqrt(q.shape[-1])
    if bias is not None:
        s = s + bias
    if score == "softmax":
        if hidden is not None:
            s = s.masked_fill(hidden, -torch.inf)
        return s.softmax(-1) @ v
    w = s.sigmoid() if score == "sigmoid" else s.relu()
    o = (w if hidden is None else w.masked_fill(hidden, 0.0)) @ v
    if score == "sigmoid":
        return o
    return o / (k.shape[-2] if hidden is None else (~hidden).sum(-1, keepdim=True).to(o.dtype))


def _entropies(point, q, k, v, normal, causal, rivals):
    """The output and the entropy of each row."""
    hidden = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1) if causal else None
    mask = "causal" if causal else None

    def plain(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        s = q @ k.mT / math.sqrt(q.shape[-1])
        if hidden is not None:
            s = s.masked_fill(hidden, -torch.inf)
        log_w = s.log_softmax(-1)
        w = log_w.exp()
        return w @ v, -(w * (log_w if hidden is None else log_w.masked_fill(hidden, 0.0))).sum(-1)

    def ours(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        o, found = attention(q, k, v, mask=mask, statistics=("entropy",))
        return o, found["entropy"]

    runs: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {"auto": ours}
    if "torch eager" in rivals:
        runs["torch eager"] = plain
    if point.passes == "forward":
        return {name: lambda f=f: f(q, k, v) for name, f in runs.items()}
    g, h = normal(*q.shape[:-1], v.shape[-1]), normal(*q.shape[:-1])
    operands = [x.requires_grad_() for x in (q, k, v)]
    return {name: lambda f=f: torch.autograd.grad(f(*operands), operands, (g, h)) for name, f in runs.items()}


def _second_order(q, k, v, normal, ours, rivals):
    """The Hessian of sum o^2 / 2 times a vector, by two reverse passes."""
    operands = [x.requires_grad_() for x in (q, k, v)]
    along = [normal(*x.shape) for x in operands]

    def product(f: Callable[..., Tensor]) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(f(*operands).square().sum() / 2, operands, create_graph=True)
        return torch.autograd.grad(first, operands, along)

    runs = {"auto": ours, "torch eager": rivals["torch eager"]}
    return {name: lambda f=f: product(f) for name, f in runs.items()}


def summary(found: list[dict[str, object]], least_us: float = 200.0) -> list[dict[str, object]]:
    """Per situation: points, those over the limit, and quantiles of the speed against the best rival.

    ``least_us``: points at which the best rival takes less are counted apart; there the fixed cost of a call decides.
    """
    lines = []
    for situation in dict.fromkeys(r["situation"] for r in found):
        mine = [r for r in found if r["situation"] == situation]
        speeds = np.array([r["speed"] for r in mine])
        large = [r for r in mine if r["best_us"] >= least_us]
        lines.append(
            {
                "situation": situation,
                "points": len(mine),
                "over": sum(bool(r["over"]) for r in mine),
                f"points_from_{least_us:.0f}_us": len(large),
                "over_of_these": sum(bool(r["over"]) for r in large),
                "slowest": float(speeds.min()),
                "slowest_of_these": float(min((r["speed"] for r in large), default=math.nan)),
                "median": float(np.median(speeds)),
                "fastest": float(speeds.max()),
            }
        )
    return lines
