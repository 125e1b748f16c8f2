"""Blocks for the tests of the results folder."""

import numpy as np

from attnlab.papers.lab.run.blocks import key_of


def identity(n=0, name="toy.walk"):
    return {"simulation": name, "fields": {"dim": n}, "seed": 0, "first": 0, "size": 3, "code": "c", "platform": {}}


def put(store, n=0, arrays=None, **more):
    """Keep the block of number n, three numbers by default; returns its key."""
    key = key_of(identity(n))
    store.put(key, identity(n), {"x": np.arange(3.0) + n} if arrays is None else arrays, 1.0, **more)
    return key


def everything(folder):
    """The bytes of every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
