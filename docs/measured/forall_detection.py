"""How often each level finds that a false claim is false: 50 false claims, written to forall_detection.md.

Run: python docs/measured/forall_detection.py     (about five minutes on one core)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from attnlab.analysis.theorems.engines.certification import certify
from attnlab.analysis.theorems.engines.evaluate import Evaluator, one_thread
from attnlab.analysis.theorems.engines.proving import prove
from attnlab.analysis.theorems.engines.sampling import sample
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
from attnlab.analysis.theorems.witness import confirm

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


def found_by_sampling(claim: Claim, n: int) -> bool:
    drawn = sample(claim, n, 0, 60.0, Evaluator(claim))
    return bool(drawn.violations) and drawn.point is not None and confirm(claim, drawn.point).violated


def found_by_search(claim: Claim, rounds: int) -> bool:
    found = search(claim, 60.0, 0, rounds)
    return any(confirm(claim, point).violated for _, point in found.candidates[:6])


METHODS: dict[str, Callable[[Claim], bool]] = {
    "sampled, 1 000 draws": lambda c: found_by_sampling(c, 1000),
    "sampled, 20 000 draws": lambda c: found_by_sampling(c, 20_000),
    "searched, 64 starts": lambda c: found_by_search(c, 1),
    "searched, 512 starts": lambda c: found_by_search(c, 8),
    "certified, 0.5 s": lambda c: certify(c, 0.5).status == "refuted",
    "certified, 3 s": lambda c: certify(c, 3.0).status == "refuted",
    "symbolic, simple points": lambda c: prove(c, 0.1).status == "refuted",
}


def falsely_proved(claim: Claim) -> bool:
    """Whether a proof of the claim was found; on a false claim this must never happen."""
    return certify(claim, 0.5).status == "proved" or prove(claim, 5.0).status == "proved"


def table(claims: list[FalseClaim]) -> str:
    """The measured table as markdown."""
    families = list(dict.fromkeys(one.family for one in claims))
    rows, seconds, missed = [], [], []
    for method, finds in METHODS.items():
        start = time.perf_counter()
        hits = [(one, finds(one.claim)) for one in claims]
        seconds.append((time.perf_counter() - start) / len(claims))
        by_family = {f: [h for one, h in hits if one.family == f] for f in families}
        shares = [f"{sum(h)}/{len(h)}" for h in by_family.values()]
        rows.append(
            f"| {method} | {' | '.join(shares)} | {sum(h for _, h in hits)}/{len(claims)} | {seconds[-1]:.2f} |"
        )
        names = [f"{one.name} ({one.family})" for one, h in hits if not h]
        if 0 < len(names) <= 12:
            missed.append(f"- {method}: " + ", ".join(names))
    proved = sum(falsely_proved(one.claim) for one in claims)
    true = list(sharp(1.0).values())
    refuted = sum(found_by_search(c, 8) or certify(c, 0.5).status == "refuted" for c in true)
    head = (
        f"| level and budget | {' | '.join(families)} | all | seconds a claim |\n|---|{'---|' * len(families)}---|---|"
    )
    return "\n".join(
        [
            "# How often is a false claim found to be false?",
            "",
            f"{len(claims)} false claims: constants too small by 2 to 20 % in eight sharp bounds, wrong exponents, dropped",
            "assumptions (the suite is in `forall_detection.py`). A cell counts the claims refuted by a violation that is",
            "certain in ball arithmetic.",
            "",
            head,
            *rows,
            "",
            f"False claims proved by `certified` or `symbolic`: {proved} of {len(claims)}. "
            f"The eight true bounds refuted by search or certificate: {refuted} of {len(true)}.",
            "",
            "Missed, where at most twelve were:",
            *missed,
            "",
            "Command: `python docs/measured/forall_detection.py` (seed 0; seconds depend on the machine, the counts of the "
            "certified rows with them).",
            "",
        ]
    )


if __name__ == "__main__":
    with one_thread():
        text = table(suite())
    Path(__file__).with_suffix(".md").write_text(text, encoding="utf-8")
    print(text)
