"""Threads that stay: one pool for all compiled kernels, so that a call does not pay for starting them."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch


def run_parts(work: Callable[[int, int], object], cuts: Sequence[int]) -> None:
    """``work(start, end)`` of every pair of neighbours in ``cuts``, each on a thread of its own; the caller takes the first."""
    parts = list(itertools.pairwise(cuts))
    rest = [_pool(len(parts) - 1).submit(work, *part) for part in parts[1:]]
    work(*parts[0])
    for part in rest:
        part.result()


def carried_out(function: Callable[..., int], *arguments: object) -> None:
    """A call of a compiled kernel, which answers 0; an error if it could not have its memory."""
    if function(*arguments):
        raise MemoryError(
            "a compiled kernel cannot have the memory for its scratch; use smaller sizes, or path='reference'"
        )


@functools.lru_cache(maxsize=4)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="attnlab")


def _begin_again() -> None:
    """A forked child has the pools, ours and that of torch's OpenMP, but none of their threads, and would wait for them."""
    _pool.cache_clear()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_again)
