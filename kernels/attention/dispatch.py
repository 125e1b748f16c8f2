"""Which path computes a given size: a lookup in ``dispatch.json``, which ``kernels.bench`` measures and people commit.

The table is data: two runs on one machine choose the same path. It says, for one query, causal and full
attention and for each head width, up to how many keys the compiled path beats torch's fused one.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

TABLE = Path(__file__).with_name("dispatch.json")


@functools.lru_cache(maxsize=1)
def table() -> dict:
    """The committed crossovers: {"softmax": {"full": [[width, keys], ...], ...}, "other": {...}, ...}."""
    return json.loads(TABLE.read_text())


def choose_path(kind: str, family: str, n_queries: int, n_keys: int, width: int, n_problems: int) -> str:
    """ "c" or "torch" for one size.

    ``kind``: "query" (one query), "causal" or "full"; ``family``: "softmax" where torch's fused softmax is
    the alternative, "other" where plain tensor operations are, "statistics" where those would also make statistics, without
    derivatives; ``n_problems``: product of the leading axes.
    """
    found = table()
    if n_problems < found["min_problems"]:
        return "torch"
    limits = found[family][kind]
    longest = next((keys for limit, keys in limits if width <= limit), 0)
    return "c" if max(n_queries, n_keys) <= longest else "torch"
