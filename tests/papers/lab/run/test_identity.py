import sys
from dataclasses import dataclass

import numpy as np
import pytest

from attnlab.papers.lab.run.identity import block_identity, canonical, code_fingerprint, replica_seeds


@dataclass(frozen=True)
class Setting:
    dim: int = 3
    colour: str = "red"
    n_replicas: int = 8


class Simulation:
    name, block, reads, module = "toy.run", 4, ("dim",), "attnlab.papers.lab.errors"


def test_only_the_fields_that_are_read_enter_the_identity():
    base = block_identity(Simulation, Setting(), 0, 0, "cpu").key
    assert block_identity(Simulation, Setting(colour="blue", n_replicas=9), 0, 0, "cpu").key == base
    others = [
        block_identity(Simulation, Setting(dim=4), 0, 0, "cpu"),
        block_identity(Simulation, Setting(), 1, 0, "cpu"),
        block_identity(Simulation, Setting(), 0, 1, "cpu"),
    ]
    assert len({base, *(o.key for o in others)}) == 4


def test_seeds_depend_on_replica_simulation_fields_and_seed_and_on_nothing_else():
    def draw(name="a.b", fields=None, seed=0, first=0, size=4):
        seeds = replica_seeds(name, fields or {"dim": 3}, seed, first, size)
        return [int(np.random.default_rng(s).integers(2**62)) for s in seeds]

    whole = draw(size=8)
    assert whole[4:] == draw(first=4)  # not on which other replicas were asked for
    assert len({*whole, *draw(seed=1), *draw(name="a.c"), *draw(fields={"dim": 4})}) == 8 + 3 * 4


def test_the_fingerprint_ignores_comments_and_docstrings_and_sees_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def fingerprint(text):
        (tmp_path / "fingerprinted.py").write_text(text)
        sys.modules.pop("fingerprinted", None)
        code_fingerprint.cache_clear()
        return code_fingerprint("fingerprinted")

    base = fingerprint("def f(x):\n    return x + 1\n")
    assert fingerprint("'''About f.'''\ndef f(x):\n    '''Doc.'''\n    # why\n    return (x + 1)\n") == base
    assert fingerprint("def f(x):\n    return x + 2\n") != base
    assert fingerprint("from attnlab.papers.lab import errors\ndef f(x):\n    return x + 1\n") != base
    code_fingerprint.cache_clear()


def test_canonical_json_refuses_what_has_no_exact_text():
    assert canonical({"b": 1, "a": (0.1, "x")}) == '{"a":[0.1,"x"],"b":1}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})
