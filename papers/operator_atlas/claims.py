"""Claims on the atlas as a whole: declared limits are exact, and a linear memory recalls by its state per pair."""

from __future__ import annotations

import math
from dataclasses import replace

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, replicas
from attnlab.papers.lab.conditions import at_least
from attnlab.papers.lab.run.workbench import Lab
from attnlab.papers.operator_atlas.paper import LIMITS, MEMORY, paper
from attnlab.simulators.operator_atlas.limits import LimitsSetting, limits
from attnlab.simulators.operator_atlas.stored_pairs import MemorySetting, memory
from attnlab.theory.operator_atlas import recall

#: Width of the keys and keys per value, beside what the setting says.
CELLS = ((16, 2), (32, 6))


@paper.claim(
    "limits_are_exact",
    source="the operators' papers; limits as their files declare them",
    statements=[1],
    setting=LIMITS,
    kind="construction",
    formula="operator at the limit = the operator that it is there, on generic inputs",
    judged="first eight numbers of both outputs over the largest, of every declared limit, equal within 10^4 roundings: what "
    "the one test of the atlas allows",
)
def limits_are_exact(setting: LimitsSetting, lab: Lab) -> Verdict:
    """Every limit that an operator of the atlas declares is the other operator to rounding.

    Twin: the other operator on inputs that are larger by a billionth.
    """
    runs = lab.simulate(limits, setting)
    return identical(
        runs["this"], runs["other"], rounding=1e4, scale=1.0, twin=Twin.of("inputs off by 1e-9", b=runs["moved"])
    )


@paper.claim(
    "recall_of_a_linear_memory",
    source="the trade-off of Arora et al. 2024, section 3; the law is derived",
    statements=[2],
    setting=MEMORY,
    parts=3,
    kind="extrapolation",
    reads=("key_width", "per_code", "n_codes"),
    covers={"key_width": at_least(4, "the density of a cosine is flat at 3")},
    formula="share read right = int f_{c-1}(x) F_c(x + 1)^{V-1} dx, f_c the density of a sum of c cosines; about "
    "P(sqrt(S/m) + z > max of V - 1 normals)",
    judged="means over replicas; a share p of n draws scatters by sqrt(p (1 - p)/n)",
)
def recall_of_a_linear_memory(setting: MemorySetting, lab: Lab) -> Verdict:
    """A linear memory of S = r V numbers that holds m pairs reads back a share that S/m decides, by an exact law.

    Twin: the best map of its rank for values at random, a^2 = V r/(m - r).
    """
    cells = [setting, *(replace(setting, key_width=r, per_code=c) for r, c in CELLS)]
    every, parts = lab.simulate(memory, *cells), []
    for cell, runs in zip(cells, every, strict=True):
        r, c, V = cell.key_width, cell.per_code, cell.n_codes
        p = recall.memory_recall_exact(r, c, V)
        of = f"mean over replicas of {cell.n_draws} draws"
        spread = math.sqrt(p * (1 - p) / cell.n_draws)
        parts.append(
            agrees(
                runs["right"],
                p,
                within=budget(replicas(spread, runs.n, of=of)),
                of=of,
                twin=Twin.of("the best map of rank r", predicted=recall.best_map_recall(c * V, r, V, V)),
            ).named(f"r = {r}, {c} keys per value")
        )
    return all_of(*parts)
