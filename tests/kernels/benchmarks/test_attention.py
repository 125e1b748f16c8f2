"""The timing harness: what it pairs, what it reports, and the committed dispatch table."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from attnlab.kernels.attention import attention, cpu, dispatch, sdpa
from attnlab.kernels.benchmarks import attention as bench
from attnlab.kernels.benchmarks import icl_step as bench_training
from attnlab.kernels.benchmarks import points, timing
from attnlab.kernels.benchmarks import rivals as bench_rivals
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
    assert table["widths"] == sorted(table["widths"]) and table["lengths"] == sorted(table["lengths"])
    for machine, family, passes, dtype, kind in itertools.product(
        ("avx2", "avx512"), dispatch.FAMILIES, dispatch.PASSES, dispatch.DTYPES, dispatch.KINDS
    ):
        part = table["times"][machine][family][passes]
        paths = {"c", "reference"} | ({"sdpa"} if family in ("softmax", "bias", "biases") else set())
        assert set(part["fixed"]) == set(part[dtype][kind]) == paths and all(t > 0 for t in part["fixed"].values())
        for rows in part[dtype][kind].values():
            assert np.shape(rows) == (len(table["widths"]), len(table["lengths"])) and np.isfinite(rows).all()
        assert choose(family, passes, kind, 8, 4, 4096, dtype, machine) == "c"  # short and narrow, full lanes


def choose(family, passes, kind, n, width, n_problems=1024, dtype="float32", machine="avx512", value_width=None):
    possible = ("c", "sdpa", "reference") if family in ("softmax", "bias", "biases") else ("c", "reference")
    n_q, widths = 1 if kind == "query" else n, (width, width if value_width is None else value_width)
    return dispatch.choose_path(possible, family, passes, kind, n_q, n, widths, n_problems, dtype, machine)


def test_a_choice_is_the_least_time_by_the_table(monkeypatch):
    """A table of two lengths and widths, by hand: fixed cost, lanes, interpolation, the narrower width that is filled up."""
    grid = {"c": [[10.0, 14.0]] * 2, "sdpa": [[12.0, 14.0], [14.0, 16.0]], "reference": [[13.0, 17.0]] * 2}
    part = {
        "fixed": {"c": 20_000, "sdpa": 30_900, "reference": 10_000},
        "float32": {"full": grid},
        "float64": {"full": grid},
    }
    table = {"lengths": [4, 16], "widths": [2, 8], "times": {"avx2": {"softmax": {"both": part}}}}
    monkeypatch.setattr(dispatch, "table", lambda: table)
    dispatch.choose_path.cache_clear()
    try:
        # eight lanes: 8 problems cost what one does; c 20 + 8 * 1.024 us, sdpa 30.9 + n * 4.096, reference 10 + n * 8.192
        assert choose("softmax", "both", "full", 4, 2, 8, machine="avx2") == "c"  # 28 < 63 < 76
        assert choose("softmax", "both", "full", 4, 2, 1, machine="avx2") == "reference"  # 18 < 28 < 34
        assert choose("softmax", "both", "full", 4, 2, 2, machine="avx2") == "reference"  # 26 < 28
        assert choose("softmax", "both", "full", 4, 2, 3, machine="avx2") == "c"  # 28 < 35
        # without c the others meet at 5.1 problems: an error of 5 % in either time, or in the fixed cost, moves a choice
        for n_problems, path in ((5, "reference"), (6, "sdpa")):
            rest = ("sdpa", "reference"), "softmax", "both", "full", 4, 4, (2, 2), n_problems, "float32", "avx2"
            assert dispatch.choose_path(*rest) == path
        # at 16 keys both take 2^14 ns: the fixed cost decides for full lanes, empty ones against c
        assert choose("softmax", "both", "full", 16, 2, 8, machine="avx2") == "c"
        assert choose("softmax", "both", "full", 16, 2, 9, machine="avx2") == "sdpa"
        # 8 keys, half-way: 2^12 against 2^13; values as wide as 8 with heads of 2 are work of 8 for sdpa, of 5 for the others
        assert choose("softmax", "both", "full", 8, 2, 80, machine="avx2") == "c"
        assert choose("softmax", "both", "full", 64, 2, 9, machine="avx2") == "sdpa"  # beyond the grid: its edge
        assert choose("softmax", "both", "full", 16, 2, 9, machine="avx2", value_width=8) == "c"
        assert choose("softmax", "both", "full", 4, 2, 5, "float64", "avx2") == "c"  # four lanes: 8 problems, 28 < 50
    finally:
        dispatch.choose_path.cache_clear()


def test_lanes_are_those_of_the_kernels(needs_c):
    """What the table charges for is what the builds compute: vectors of 32 bytes, with AVX-512 of 64 unless half would be empty."""
    machine = dispatch.instruction_set()
    longest = cpu.n_lanes(cpu.library(0, torch.float32, 4, 4, 1)) * torch.float32.itemsize
    if longest != (64 if machine == "avx512" else 32):
        pytest.skip(f"kernels are built with vectors of {longest} bytes where torch has {machine}")
    for dtype, n_problems in itertools.product((torch.float32, torch.float64), (1, 3, 4, 5, 8, 9, 16, 17, 33)):
        narrow = cpu.is_narrow(n_problems, 8, 8, dtype, 4, 4)
        lanes = cpu.n_lanes(cpu.library(0, dtype, 4, 4, 1, narrow=narrow))
        whole = -(-n_problems // lanes) * lanes
        assert dispatch.filled(n_problems, str(dtype).removeprefix("torch."), machine) == whole


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


def test_every_program_of_a_random_point_computes_the_same():
    """Each situation, kind, dtype and pass: this package and its rivals agree to rounding."""
    seen = set()
    for point in points.draw(60, seed=3):
        if point.problems * point.queries * point.tokens * point.width > 1 << 20:
            continue
        runs = points.candidates(point)
        found = {name: run() for name, run in runs.items()}
        ours = flat(found.pop("auto"))
        assert found, point
        for name, theirs in found.items():
            for a, b in zip(ours, flat(theirs), strict=True):
                scale = 1 + b.abs().max()
                assert (a - b).abs().max() < 1000 * torch.finfo(a.dtype).eps * scale, (point, name)
        seen.add((point.situation, point.kind, point.passes))
    assert {s for s, _, _ in seen} == set(points.SITUATIONS) and len(seen) > 40


def flat(answer):
    return [answer] if isinstance(answer, torch.Tensor) else list(answer)


def test_points_are_in_their_range_and_a_seed_gives_them_again():
    drawn = list(points.draw(200, seed=1))
    assert drawn == list(points.draw(200, seed=1)) != list(points.draw(200, seed=2))
    for point in drawn:
        assert point.problems * point.tokens**2 * point.width <= points.LARGEST and point.problems % point.heads == 0
        assert 1 <= point.problems <= 4096 and 2 <= point.tokens <= 4096 and 1 <= point.width <= 128
    assert {p.kind for p in drawn} == {"query", "causal", "full"} and {p.dtype for p in drawn} == {"float32", "float64"}


def test_what_counts_as_slower(monkeypatch):
    """Softmax may take 1.1 times as long and 20 us; the others 1/0.9 of the best rival; second order no longer at all."""
    point = points.Point("softmax", 1, 1, 4, 4, 2, "full", "float32", "both")

    def judged(situation, ours, theirs):
        made = {"auto": np.full(3, ours), "a": np.full(3, theirs), "b": np.full(3, 2 * theirs)}
        monkeypatch.setattr(points, "paired", lambda runs, rounds: dict(made))
        return points._timed(dataclasses.replace(point, situation=situation), {}, 3)

    assert not judged("softmax", 129e-6, 100e-6)["over"] and judged("softmax", 131e-6, 100e-6)["over"]
    assert not judged("relu", 111e-6, 100e-6)["over"] and judged("relu", 112e-6, 100e-6)["over"]
    assert not judged("second order", 100e-6, 100e-6)["over"] and judged("second order", 101e-6, 100e-6)["over"]
    record = judged("relu", 50e-6, 100e-6)
    assert record["best"] == "a" and record["speed"] == pytest.approx(2.0)
    line = points.summary([record, {**record, "speed": 0.5, "over": True, "best_us": 300.0}])[0]
    assert (line["points"], line["over"], line["over_of_these"], line["slowest"]) == (2, 1, 1, 0.5)
