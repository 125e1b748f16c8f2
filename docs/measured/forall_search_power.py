"""The search against scipy's, at equal processor time, on 66 subtly false claims: written to forall_search_power.md.

Run: python docs/measured/forall_search_power.py     (about three minutes of one core)

Each method has the same processor time per claim, the time our search needs for its budget. A claim counts as refuted if
a point is found whose violation is confirmed in higher precision. Differential evolution evaluates whole populations at
once, by the same batched function as our search; L-BFGS-B starts again from random points, with torch's gradients.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import optimize

from attnlab.analysis.theorems.engines.confirmation import confirm
from attnlab.analysis.theorems.engines.coordinates import Latent
from attnlab.analysis.theorems.engines.evaluate import Evaluator, arrays, one_thread
from attnlab.analysis.theorems.engines.search import search
from attnlab.analysis.theorems.statement.claim import Claim, for_all
from attnlab.analysis.theorems.statement.domains import (
    Integer,
    Permutation,
    PositiveDefinite,
    Real,
    Simplex,
    Sphere,
    Vector,
)

BUDGET = 40_000  # evaluations of our search
SHORTFALLS = (0.02, 0.05, 0.10, 0.20)


@dataclass(frozen=True)
class FalseClaim:
    """A false claim and how it is false."""

    family: str
    name: str
    claim: Claim


def distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x.softmax(-1) - y.softmax(-1)).norm()


def variance(x: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    p = x.softmax(-1)
    return (p * v * v).sum() - (p * v).sum() ** 2


def sharp(c: float) -> dict[str, Claim]:
    """Eight bounds that are sharp and true at c = 1, with the constant multiplied by c."""
    box = Vector(4, -10, 10)
    return {
        "softmax is 1/2-Lipschitz": for_all(x=box, y=box).bound(distance, at_most=lambda x, y: c / 2 * (x - y).norm()),
        "variance of three values": for_all(x=Vector(3, -5, 5), v=Vector(3, 0, 1)).bound(variance, at_most=c / 4),
        "Cauchy-Schwarz": for_all(x=Vector(4, -1, 1), y=Vector(4, -1, 1)).bound(
            lambda x, y: x @ y, at_most=lambda x, y: c * x.norm() * y.norm()
        ),
        "tanh x <= x": for_all(x=Real(0, 3)).bound(lambda x: torch.tanh(x), at_most=lambda x: c * x),
        "collision probability": for_all(p=Simplex(5)).bound(lambda p: (p * p).sum(), at_least=1 / (5 * c)),
        "largest eigenvalue": for_all(A=PositiveDefinite(3, 1, 4), u=Sphere(3)).bound(
            lambda A, u: u @ A @ u, at_most=4 * c
        ),
        "rearrangement": for_all(x=Vector(8, 0, 1), pi=Permutation(8)).bound(
            lambda x, pi: x @ x[pi], at_most=lambda x: c * (x @ x)
        ),
        "needle among 10^6 integers": for_all(k=Integer(0, 10**6)).bound(
            lambda k: torch.relu(1 - abs(k - 271_828) / 50), at_most=c
        ),
    }


def wrong_exponents() -> dict[str, Claim]:
    """Nine bounds with an exponent that is slightly off; some fail only in a corner of the box."""
    return {
        "|x|_2 <= n^0.45 |x|_inf": for_all(x=Vector(8, -1, 1)).bound(
            lambda x: x.norm(), at_most=lambda x: 8**0.45 * x.abs().max()
        ),
        "|x|_1 <= n^0.45 |x|_2": for_all(x=Vector(8, -1, 1)).bound(
            lambda x: x.abs().sum(), at_most=lambda x: 8**0.45 * x.norm()
        ),
        "e^x <= 1 + x + x^2.2": for_all(x=Real(0, 1)).bound(lambda x: x.exp(), at_most=lambda x: 1 + x + x**2.2),
        "1 - cos x <= x^2.1 / 2": for_all(x=Real(0, 1)).bound(lambda x: 1 - x.cos(), at_most=lambda x: x**2.1 / 2),
        "log(1 + x) <= x^1.05": for_all(x=Real(0, 1)).bound(lambda x: (1 + x).log(), at_most=lambda x: x**1.05),
        "p (1 - p) <= e^(-1.1 t)": for_all(t=Real(0, 8)).bound(
            lambda t: torch.sigmoid(t) * torch.sigmoid(-t), at_most=lambda t: torch.exp(-1.1 * t)
        ),
        "|sin x - sin y| <= |x - y|^1.1": for_all(x=Real(-3, 3), y=Real(-3, 3)).bound(
            lambda x, y: (x.sin() - y.sin()).abs(), at_most=lambda x, y: (x - y).abs() ** 1.1
        ),
        "mean^2 <= (mean of squares)^1.1": for_all(x=Vector(4, 0, 1)).bound(
            lambda x: x.mean() ** 2, at_most=lambda x: (x * x).mean() ** 1.1
        ),
        "product of 16 <= max^16.5": for_all(x=Vector(16, 0, 1)).bound(
            lambda x: x.prod(), at_most=lambda x: x.max() ** 16.5
        ),
    }


def dropped_assumptions() -> dict[str, Claim]:
    """Nine theorems without the assumption they need (named in brackets)."""
    return {
        "x^2 <= x [x <= 1]": for_all(x=Real(0, 1.05)).bound(lambda x: x * x, at_most=lambda x: x),
        "x y <= 1 [in the disc]": for_all(x=Vector(2, -1.1, 1.1)).bound(lambda x: x[0] * x[1], at_most=1.0),
        "e^x >= 1 + x + x^2/2 [x >= 0]": for_all(x=Real(-0.1, 5)).bound(
            lambda x: x.exp(), at_least=lambda x: 1 + x + x * x / 2
        ),
        "Chebyshev's sum [sorted]": for_all(x=Vector(4, 0, 1), y=Vector(4, 0, 1)).bound(
            lambda x, y: (x * y).mean(), at_least=lambda x, y: x.mean() * y.mean()
        ),
        "Bernoulli, cube [x >= -3]": for_all(x=Real(-3.1, 3)).bound(
            lambda x: (1 + x) ** 3, at_least=lambda x: 1 + 3 * x
        ),
        "Pythagoras [orthogonal]": for_all(x=Vector(3, -1, 1), y=Vector(3, -1, 1)).bound(
            lambda x, y: ((x + y) ** 2).sum(), at_most=lambda x, y: 1.5 * ((x * x).sum() + (y * y).sum())
        ),
        "collision <= 1 [sum one]": for_all(p=Vector(6, 0, 0.45)).bound(lambda p: (p * p).sum(), at_most=1.0),
        "x y z <= mean^3 [positive]": for_all(x=Vector(3, -0.5, 1)).bound(
            lambda x: x.prod(), at_most=lambda x: x.mean() ** 3
        ),
        "softmax order [temperature > 0]": for_all(x=Vector(2, -3, 3), b=Real(-0.05, 2)).bound(
            lambda x, b: (x[0] - x[1]) * ((b * x).softmax(-1)[0] - (b * x).softmax(-1)[1]), at_least=0.0
        ),
    }


def suite() -> list[FalseClaim]:
    """The fifty false claims."""
    out = [
        FalseClaim(f"constant off by {round(100 * s)} %", name, claim)
        for s in SHORTFALLS
        for name, claim in sharp(1 - s).items()
    ]
    out += [FalseClaim("wrong exponent", name, claim) for name, claim in wrong_exponents().items()]
    return out + [FalseClaim("dropped assumption", name, claim) for name, claim in dropped_assumptions().items()]


def narrow() -> dict[str, Claim]:
    """Sixteen bounds that fail on little of the box: a hill, a valley, a face, a tie, a far place, a thin set."""
    box = Vector(6, -3, 3)
    return {
        "hill of width 0.02": for_all(x=Vector(2, 0, 1)).bound(
            lambda x: 1.001 / (1 + (((x - 0.3712) / 0.02) ** 2).sum()), at_most=1.0
        ),
        "Gaussian of width 0.005": for_all(x=Vector(2, 0, 1)).bound(
            lambda x: 1.001 * torch.exp(-(((x - 0.6123) / 0.005) ** 2).sum()), at_most=1.0
        ),
        "Gaussian in six dimensions": for_all(x=Vector(6, 0, 1)).bound(
            lambda x: 1.01 * torch.exp(-(((x - 0.31) / 0.05) ** 2).sum()), at_most=1.0
        ),
        "tent in four dimensions": for_all(x=Vector(4, 0, 1)).bound(
            lambda x: 1.01 * torch.relu(1 - ((x - 0.71) / 0.1).abs().amax()), at_most=1.0
        ),
        "Rosenbrock's valley": for_all(x=Vector(4, -2, 2)).bound(
            lambda x: (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum(), at_least=1e-4
        ),
        "Rastrigin": for_all(x=Vector(4, -5, 5)).bound(
            lambda x: (x**2 - 10 * torch.cos(2 * torch.pi * x) + 10).sum(), at_least=0.01
        ),
        "Ackley": for_all(x=Vector(5, -20, 20)).bound(
            lambda x: (
                20
                + math.e
                - 20 * torch.exp(-0.2 * (x * x).mean().sqrt())
                - torch.exp(torch.cos(2 * torch.pi * x).mean())
            ),
            at_least=0.01,
        ),
        "Griewank": for_all(x=Vector(4, -100, 90)).bound(
            lambda x: 1 + (x * x).sum() / 4000 - torch.cos(x / torch.arange(1, 5) ** 0.5).prod(), at_least=1e-4
        ),
        "a tie": for_all(x=Vector(4, 0, 1)).bound(
            lambda x: 1 - (x[0] - x[1]).abs() + torch.where(x[0] == x[1], 0.01, 0.0), at_most=1.0
        ),
        "a corner": for_all(x=Vector(8, 0, 1)).bound(lambda x: 1.001 * x.prod() ** 20, at_most=1.0),
        "entropy <= log n": for_all(x=Vector(8, -20, 20)).bound(
            lambda x: -(x.softmax(-1) * x.log_softmax(-1)).sum(), at_most=math.log(8) - 1e-4
        ),
        "divergence >= 0": for_all(x=Vector(8, -5, 5), y=Vector(8, -5, 5)).bound(
            lambda x, y: (x.softmax(-1) * (x.log_softmax(-1) - y.log_softmax(-1))).sum(), at_least=1e-4
        ),
        "softmax, close logits": for_all(x=box, y=box).bound(distance, at_most=lambda x, y: 0.49 * (x - y).norm()),
        "Jacobian's norm": for_all(x=Vector(5, -8, 8), u=Sphere(5)).bound(
            lambda x, u: (x.softmax(-1) * u * u).sum() - (x.softmax(-1) * u).sum() ** 2, at_most=0.499
        ),
        "largest of a thin ball": for_all(x=Vector(3, -1, 1)).bound(
            lambda x: torch.where(((x - 0.51) ** 2).sum() <= 0.03**2, x.sum(), 0.0), at_most=1.55
        ),
        "interference": for_all(x=Real(0, 10)).bound(lambda x: x.sin() * (10.1 * x).sin(), at_most=0.99),
    }


def claims() -> list[FalseClaim]:
    """All 66."""
    return [*suite(), *(FalseClaim("narrow", name, claim) for name, claim in narrow().items())]


class Problem:
    """A claim as a function on a box of real coordinates, for methods that know nothing of domains."""

    def __init__(self, claim: Claim) -> None:
        self.claim, self.evaluator, self.latent = claim, Evaluator(claim), Latent(claim)
        self.whole = {name: domain for name, domain in claim.variables.items() if domain.whole}
        low, high = list(np.maximum(self.latent.low, -10)), list(np.minimum(self.latent.high, 10))
        for domain in self.whole.values():
            n = 1 if isinstance(domain, Integer) else domain.n
            low += [float(domain.low)] if isinstance(domain, Integer) else [0.0] * n
            high += [float(domain.high)] if isinstance(domain, Integer) else [1.0] * n
        self.low, self.high = np.array(low), np.array(high)

    def points(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
        """Points of the claim at coordinates (batch, n): whole numbers are rounded, permutations sort their keys."""
        fixed, start = {}, self.latent.size
        for name, domain in self.whole.items():
            n = 1 if isinstance(domain, Integer) else domain.n
            keys = z[:, start : start + n].detach()
            fixed[name] = keys[:, 0].round().to(torch.int64) if isinstance(domain, Integer) else keys.argsort(dim=1)
            start += n
        return self.latent.unpack(z[:, : self.latent.size], fixed)

    def slack(self, z: torch.Tensor) -> torch.Tensor:
        """Minus the violation, to be minimised."""
        gap = self.evaluator.gap(self.points(z)).amax(dim=1)
        return torch.nan_to_num(-gap, nan=1e300, posinf=1e300, neginf=-1e300)

    def refuted(self, z: np.ndarray) -> bool:
        """Whether the violation at one place is certain."""
        point = {name: value[0] for name, value in arrays(self.points(torch.as_tensor(z[None]))).items()}
        return bool(self.slack(torch.as_tensor(z[None]))[0] < 0) and confirm(self.claim, point).violated


class _OutOfTime(Exception):
    pass


def by_evolution(claim: Claim, seconds: float) -> bool:
    problem, end, best = Problem(claim), time.process_time() + seconds, [math.inf, None]

    def function(columns: np.ndarray) -> np.ndarray:
        rows = columns.T if columns.ndim == 2 else columns[None]
        with torch.no_grad():
            values = problem.slack(torch.as_tensor(np.ascontiguousarray(rows))).numpy()
        if values.min() < best[0]:
            best[:] = float(values.min()), rows[values.argmin()].copy()
        if time.process_time() > end:
            raise _OutOfTime
        return values if columns.ndim == 2 else values[0]

    seed = 0
    try:
        while best[0] >= 0:
            optimize.differential_evolution(
                function, list(zip(problem.low, problem.high, strict=True)), seed=seed, vectorized=True, updating="deferred",
                polish=False,
            )  # fmt: skip
            seed += 1
    except _OutOfTime:
        pass
    return best[1] is not None and best[0] < 0 and problem.refuted(best[1])


def by_descent(claim: Claim, seconds: float) -> bool:
    problem, end = Problem(claim), time.process_time() + seconds
    generator = np.random.default_rng(0)

    def function(z: np.ndarray) -> tuple[float, np.ndarray]:
        t = torch.as_tensor(z[None].copy()).requires_grad_(True)
        value = problem.slack(t)[0]
        if time.process_time() > end:
            raise _OutOfTime
        if not value.requires_grad:
            return float(value), np.zeros_like(z)
        return float(value), np.nan_to_num(torch.autograd.grad(value, t)[0][0].numpy())

    try:
        while True:
            start = generator.uniform(problem.low, problem.high)
            bounds = list(zip(problem.low, problem.high, strict=True))
            found = optimize.minimize(function, start, jac=True, method="L-BFGS-B", bounds=bounds)
            if found.fun < 0 and problem.refuted(found.x):
                return True
    except _OutOfTime:
        return False


def by_search(claim: Claim) -> tuple[bool, float]:
    start = time.process_time()
    found = search(claim, BUDGET)
    return found.confirmed is not None, time.process_time() - start


def full_time(claim: Claim) -> float:
    """Processor seconds of the whole budget, without looking whether the claim is refuted yet."""
    start = time.process_time()
    search(claim, BUDGET, confirming=False)
    return time.process_time() - start


def table(some: list[FalseClaim]) -> str:
    """The measured page."""
    methods = ("our search", "differential evolution", "multi-start L-BFGS-B")
    families = list(dict.fromkeys(one.family for one in some))
    hits: dict[str, dict[str, list[bool]]] = {m: {f: [] for f in families} for m in methods}
    missed: dict[str, list[str]] = {m: [] for m in methods}
    seconds, ours = 0.0, 0.0
    for one in some:
        cap = full_time(one.claim)
        found, used = by_search(one.claim)
        seconds, ours = seconds + cap, ours + used
        results = found, by_evolution(one.claim, cap), by_descent(one.claim, cap)
        for method, hit in zip(methods, results, strict=True):
            hits[method][one.family].append(hit)
            if not hit:
                missed[method].append(f"{one.name} ({one.family})")
    rows = [
        f"| {m} | " + " | ".join(f"{sum(h)}/{len(h)}" for h in hits[m].values())
        + f" | **{sum(map(sum, hits[m].values()))}/{len(some)}** |"
        for m in methods
    ]  # fmt: skip
    return "\n".join(
        [
            "# Search power at equal processor time",
            "",
            f"{len(some)} false claims: constants too small by 2 to 20 % in eight sharp bounds, wrong exponents, dropped",
            "assumptions, and violations on little of the box. A cell counts the claims refuted by a point whose violation is",
            "confirmed in higher precision.",
            f"Every method has the processor time of our whole budget of {BUDGET} evaluations on that claim",
            f"({seconds / len(some):.2f} s on average); ours stops at its first certain violation ({ours / len(some):.2f} s).",
            "",
            f"| method | {' | '.join(families)} | all |",
            f"|---|{'---|' * len(families)}---|",
            *rows,
            "",
            "Missed:",
            "",
            *(f"- {m}: {', '.join(names) or 'none'}" for m, names in missed.items()),
            "",
            "Command: `python docs/measured/forall_search_power.py` (seed 0; what the others reach depends on the machine).",
            "",
        ]
    )


if __name__ == "__main__":
    with one_thread():
        text = table(claims())
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
