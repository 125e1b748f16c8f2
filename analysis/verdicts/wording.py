"""What a verdict speaks of, read from the words of ``of=``: the statistic over replicas, and of how many draws each is a mean."""

from __future__ import annotations

import math
import re

_OF = re.compile(r"(?:(mean|median|quantile (0?\.\d+)) over .+|(every) .+)")
_DRAWS = re.compile(r" of (\d+) draws$")


def read_of(of: str) -> tuple[str, float]:
    """The kind (``mean``, ``quantile``, ``every``) and quantile level that a phrase like "mean over replicas" means."""
    match = _OF.fullmatch(of) if isinstance(of, str) else None
    if match is None or (match[2] and not 0 < float(match[2]) < 1):
        raise ValueError(
            f"of={of!r} is not understood; say 'mean over replicas', 'median over replicas', "
            "'quantile 0.9 over replicas' or 'every replica' (with your own unit for replica)"
        )
    if match[3]:
        return "every", math.nan
    return ("mean", math.nan) if match[1] == "mean" else ("quantile", float(match[2] or 0.5))


def draws_of(of: str) -> int:
    """Of how many independent draws each replica is an average: 4000 in "mean over replicas of 4000 draws", else 1."""
    found = _DRAWS.search(of) if isinstance(of, str) else None
    return 1 if found is None else max(1, int(found[1]))
