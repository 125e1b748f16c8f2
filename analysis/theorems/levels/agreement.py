"""Whether the exact form is the function: compared at candidates, points of structure and draws, and operation by
operation where it matters most."""

from __future__ import annotations

import numpy as np

from attnlab.analysis.theorems.engines.evaluate import Evaluator
from attnlab.analysis.theorems.engines.search import Found
from attnlab.analysis.theorems.engines.starting_points import joined, structured, varied
from attnlab.analysis.theorems.levels.run import Run
from attnlab.analysis.theorems.statement.claim import Claim

COMPARED = 256  # points of structure, and as many draws
RECORDED_AGAIN = 12  # candidates at which the operations themselves are compared


def disagreement(run: Run, claim: Claim, found: Found, evaluator: Evaluator) -> str:
    """Why the exact levels cannot speak for the functions, or an empty string."""
    generator = np.random.default_rng([run.seed, 0xE8AC7])
    n = COMPARED if evaluator.cost == 1 else COMPARED // 4
    draws = {name: varied(domain, n, generator) for name, domain in claim.variables.items()}
    parts = [draws, structured(claim, n, generator)]
    candidates = found.candidates(40)
    if candidates:
        parts.append({name: np.stack([p[name] for p in candidates]) for name in candidates[0]})
    points = joined(parts)
    trouble = evaluator.disagreement(points)
    if trouble:
        return trouble
    rows = [len(points[next(iter(points))]) - 1 - k for k in range(min(RECORDED_AGAIN, len(candidates)))]
    rows += [0, n, n + 1, n + 2]
    for k in rows:
        point = {name: np.asarray(v[k]) for name, v in points.items()}
        if not evaluator.recorded_alike(point):
            at = ", ".join(f"{name}={np.array2string(v, precision=4, threshold=8)}" for name, v in point.items())
            return f"the function does something else at {at} than its exact form says"
    return ""
