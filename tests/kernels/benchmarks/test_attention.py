"""The timing harness: what it pairs, what it reports, and the committed dispatch table."""

import math

import numpy as np
import pytest
import torch

from attnlab.kernels.attention import attention, cpu, dispatch, sdpa
from attnlab.kernels.benchmarks import attention as bench
from attnlab.kernels.benchmarks import icl_step as bench_training
from attnlab.kernels.benchmarks import rivals as bench_rivals
from attnlab.kernels.benchmarks import timing
from attnlab.kernels.icl_step import Shape, Stream, draw, loss_and_gradient


def test_every_candidate_runs_once_a_round_in_changing_order():
    calls = []
    seconds = timing.paired({name: lambda name=name: calls.append(name) for name in "abc"}, 30)
    rounds = [calls[i : i + 3] for i in range(0, len(calls), 3)]
    assert len(rounds) == 31 and all(sorted(r) == ["a", "b", "c"] for r in rounds) and seconds["a"].shape == (30,)
    assert len({tuple(r) for r in rounds}) == 6  # all orders occur


def test_ratios_are_formed_within_a_round(monkeypatch):
    """A machine that slows down threefold half-way changes both times, and no ratio."""
    made = {"a": np.array([1.0, 1.0, 3.0, 3.0]), "b": np.array([2.0, 2.0, 6.0, 6.0])}
    monkeypatch.setattr(timing, "paired", lambda candidates, rounds: made)
    a, b = timing.compare({"a": None, "b": None}, "b", 4, 1e9, 10.0, n=3)
    assert (a["speed_low"], a["speed_against_base"], a["speed_high"]) == (2.0, 2.0, 2.0) and b[
        "speed_against_base"
    ] == 1.0
    assert a["n"] == 3 and a["best_ms"] == 1e3 and a["median_ms"] == 2e3
    assert a["dense_gflops"] == 1.0 and a["share_of_sgemm"] == 0.1


def test_attention_records_are_plain_and_complete(needs_c):
    records = bench.attention_records(shapes=((8, 8, 2),), rounds=2)
    assert {r["candidate"] for r in records} == {"c", "sdpa", "auto", "torch sdpa", "torch eager"}
    for record in records:
        assert all(isinstance(x, (str, int, float)) for x in record.values())
        assert record["best_ms"] > 0 and math.isfinite(record["share_of_sgemm"])
    base = [r["speed_against_base"] for r in records if r["candidate"] == "torch sdpa"]
    assert base == [1.0, 1.0]
    assert timing.markdown(records).count("\n") == len(records) + 1


def test_every_candidate_computes_the_same_gradients(needs_c):
    for n_q, mask in ((8, "causal"), (8, "none"), (1, "none")):
        found = {name: run() for name, run in bench._candidates(bench.tensors(8, 8, 2, n_q), mask).items()}
        for grads in found.values():
            for got, want in zip(grads, found["torch eager"], strict=True):
                assert (got - want).abs().max() < 100 * torch.finfo(torch.float32).eps * (1 + want.abs().max())


def test_loops_of_the_training_bench_compute_the_loss_of_the_fused_step(needs_c):
    for causal in (False, True):
        shape = Shape(dim=3, n_context=7, n_heads=2, batch=5, causal=causal)
        state = bench_training.start(shape, 2)
        data = draw(shape, Stream(np.arange(2, dtype=np.uint64), 0.3), 0, 1)
        expected, _ = loss_and_gradient(shape, state, data, path="c")
        for r in range(2):
            model = [torch.from_numpy(a[r]) for a in state.params.values()]
            for form in ("projections", "folded", "sdpa"):
                x, y = torch.from_numpy(data.x[r, 0]), torch.from_numpy(data.y[r, 0])
                got = bench_training.eager_loss(shape, model, x, y, form).item()
                assert abs(got - expected[r]) < 50 * torch.finfo(torch.float32).eps * expected[r]


def test_what_does_not_run_is_reported_with_its_reason():
    def broken():
        raise NotImplementedError("no backward here\nsecond line")

    assert bench_rivals.failure(broken) == "NotImplementedError: no backward here"
    assert bench_rivals.failure(lambda: None) is None


@pytest.mark.slow
def test_compiled_rivals_run_or_say_why():
    records, reasons = bench_rivals.compiled_records(shapes=((8, 8, 2, "causal"),), rounds=2)
    ran = {(r["candidate"], r["pass"]) for r in records}
    assert all(reason["reason"] for reason in reasons)
    for name in ("torch.compile", "FlexAttention"):
        for passes in ("forward", "forward and backward"):
            assert ((name, passes) in ran) != any((r["candidate"], r["pass"]) == (name, passes) for r in reasons)


def test_table_is_a_rule_for_every_size():
    table = dispatch.table()
    for family in ("softmax", "other", "statistics"):
        assert set(table[family]) == {"query", "causal", "full"}
        for rows in table[family].values():
            widths = [width for width, _ in rows]
            assert widths == sorted(widths) and all(keys >= 0 for _, keys in rows)
    assert dispatch.choose_path("causal", "softmax", 40, 40, 6, 1024) == "c"
    assert dispatch.choose_path("full", "softmax", 4096, 4096, 64, 1024) == "torch"
    assert dispatch.choose_path("causal", "softmax", 40, 40, 6, 1) == "torch"  # a single problem leaves lanes empty


@pytest.mark.parametrize(("shape", "expected"), [((64, 12, 4), "c"), ((4, 2048, 64), "sdpa")])
def test_automatic_choice_runs_the_path_of_the_table(shape, expected, monkeypatch, needs_c):
    taken = []
    for module, name in ((cpu, "c"), (sdpa, "sdpa")):

        def spy(*args, original=module.forward, name=name, **more):
            taken.append(name)
            return original(*args, **more)

        monkeypatch.setattr(module, "forward", spy)
    q = torch.zeros(shape)
    attention(q, q, q)
    assert taken == [expected]
