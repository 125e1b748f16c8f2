"""The timing harness: what it pairs, what it reports, and the committed dispatch table."""

import math

import pytest
import torch

from attnlab.kernels import bench
from attnlab.kernels.attention import attention, cpu, dispatch, sdpa


def test_candidates_alternate_so_that_a_slow_moment_hits_all_of_them():
    calls = []
    seconds = bench.paired({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4 and seconds["a"].shape == (3,)


def test_attention_records_are_plain_and_complete(needs_c):
    records = bench.attention_records(shapes=((8, 8, 2),), rounds=2)
    assert {r["candidate"] for r in records} == {"c", "sdpa", "auto", "torch sdpa", "torch eager"}
    for record in records:
        assert all(isinstance(x, (str, int, float)) for x in record.values())
        assert record["best_ms"] > 0 and math.isfinite(record["share_of_sgemm"])
    base = [r["speed_against_base"] for r in records if r["candidate"] == "torch sdpa"]
    assert base == [1.0, 1.0]
    assert bench.markdown(records).count("\n") == len(records) + 1


def test_loops_of_the_training_bench_compute_the_loss_of_the_fused_step(needs_c):
    from attnlab.kernels.icl_step import Shape, Stream, draw, loss_and_gradient
    for causal in (False, True):
        shape = Shape(dim=3, n_context=7, n_heads=2, batch=5, causal=causal)
        state = bench._start(shape, 2)
        data = draw(shape, Stream(torch.arange(2).numpy().astype("uint64"), 0.3), 0, 1)
        expected, _ = loss_and_gradient(shape, state, data, path="c")
        hidden = torch.ones(7, 7, dtype=torch.bool).triu(1) if causal else None
        for r in range(2):
            model = [torch.from_numpy(a[r]) for a in state.params.values()]
            for folded in (False, True):
                x, y = torch.from_numpy(data.x[r, 0]), torch.from_numpy(data.y[r, 0])
                got = bench._eager_loss(shape, model, x, y, hidden, folded).item()
                assert abs(got - expected[r]) < 50 * torch.finfo(torch.float32).eps * expected[r]


def test_table_is_a_rule_for_every_size():
    table = dispatch.table()
    for family in ("softmax", "other"):
        assert set(table[family]) == {"query", "causal", "full"}
        for rows in table[family].values():
            widths = [width for width, _ in rows]
            assert widths == sorted(widths) and all(keys >= 0 for _, keys in rows)
    assert dispatch.choose_path("causal", True, 40, 40, 6, 1024) == "c"
    assert dispatch.choose_path("full", True, 4096, 4096, 64, 1024) == "torch"
    assert dispatch.choose_path("causal", True, 40, 40, 6, 1) == "torch"            # a single problem leaves lanes empty


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
