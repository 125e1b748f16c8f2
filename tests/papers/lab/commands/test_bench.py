"""attnlab bench: one record of finite numbers, tables and a figure with its data; counted work equals the cost model."""

import functools
import json
import math

import pytest
import torch

from attnlab.kernels.benchmarks import attention as attention_bench
from attnlab.kernels.benchmarks import icl_step as bench_training
from attnlab.kernels.benchmarks import induction_step as bench_induction
from attnlab.kernels.benchmarks import rivals as bench_rivals
from attnlab.kernels.benchmarks import threads as bench_threads
from attnlab.kernels.benchmarks import timing
from attnlab.kernels.induction_step import Shape
from attnlab.papers.lab.commands import bench, cli
from attnlab.papers.lab.errors import UsageError
from attnlab.simulators.ensemble import benchmark
from attnlab.theory.costs import own_kernels as kernel_work


@pytest.fixture
def quick(monkeypatch):
    """Tiny sizes, and nothing that torch compiles."""
    part = functools.partial
    sweep = {"tokens": ((8, 16), {"problems": 8, "width": 2}), "width": ((2, 3), {"problems": 8, "tokens": 8})}
    steps = {"replicas": ((1, 2), {"batch": 8, "context": 4}), "batch": ((8, 16), {"replicas": 1, "context": 4})}
    small = Shape(dim=6, n_context=4, n_positions=11, n_labels=8, batch=13)
    for module, name, options in (
        (attention_bench, "attention_records", {"shapes": ((8, 8, 2),)}),
        (attention_bench, "query_records", {"shapes": ((8, 8, 2),)}),
        (attention_bench, "linear_records", {"lengths": (8, 70)}),
        (attention_bench, "size_records", {"sweeps": sweep}),
        (attention_bench, "work_records", {"shapes": ((16, 8, 8, 2),)}),
        (bench_training, "training_records", {"n_replicas": 2, "steps": ((True, 8, 4), (False, 8, 4))}),
        (bench_threads, "attention_records", {"shapes": ((8, 8, 2),)}),
        (bench_threads, "training_records", {"n_replicas": 2, "steps": ((True, 8, 4),)}),
        (bench_threads, "induction_records", {"n_steps": 1, "shapes": (small,)}),
        (bench_induction, "induction_records", {"n_replicas": 1, "n_steps": 1, "shapes": (small,)}),
        (bench_training, "size_records", {"sweeps": steps}),
        (bench_training, "work_records", {"steps": ((True, 8, 4),)}),
        (benchmark, "records", {"names": ("max_margin_attention.train",)}),
    ):
        monkeypatch.setattr(module, name, part(getattr(module, name), **options))
    monkeypatch.setattr(attention_bench, "SMALLEST", ((8, 8, 2),))
    reason = {"candidate": "FlexAttention", "pass": "forward", "reason": "not here"}
    for module in (bench_rivals, bench_training):
        monkeypatch.setattr(module, "compiled_records", lambda rounds, say: ([], [reason]))
    monkeypatch.setattr(bench_training, "normals_records", lambda: [{"candidate": "torch", "ns_a_number": 1.0}])
    for name in ("sgemm_peak", "copy_bandwidth", "exp_rate"):
        monkeypatch.setattr(timing, name, lambda: 10.0)


def finite(x):
    if isinstance(x, dict):
        return all(map(finite, x.values()))
    return all(map(finite, x)) if isinstance(x, list) else not isinstance(x, float) or math.isfinite(x)


@pytest.mark.parametrize("what", ["kernels", "training"])
@pytest.mark.slow
def test_one_object_on_stdout_and_a_figure_with_its_data(what, quick, capsys, tmp_path):
    assert cli.main(["bench", what, "--json", "--rounds", "3", "--out", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert finite(record) and record["bench"] == what and "each size varied alone" in err
    assert {line["candidate"] for line in record["timings"]} >= {"kernels": {"c", "torch sdpa"}, "training": {"fused"}}[
        what
    ]
    assert all(line["bound_ms"] > 0 and 0 < line["share_of_copy"] for line in record["timings"])
    assert all(
        record[name]
        for name in {"kernels": ("linear", "smallest", "threads"), "training": ("ensembles", "induction", "threads")}[
            what
        ]
    )
    assert record["not_run"][0]["reason"] == "not here"
    assert {path.suffix for path in (tmp_path / "bench").iterdir()} == {".png", ".pdf", ".svg", ".csv"}
    compiled = [line for line in record["work"] if line.get("path", "c") == "c"]
    assert compiled and all(line["counted_over_model"] == 1 for line in compiled)


@pytest.mark.slow
def test_tables_stand_on_stdout_without_json(quick, capsys, tmp_path):
    assert cli.main(["bench", "kernels", "--rounds", "2", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for part in (
        "sgemm",
        "| speed_against_base |",
        "Cost model and counted work",
        "not run: FlexAttention",
        "bench_kernels.pdf",
    ):
        assert part in out


@pytest.mark.slow
def test_bounds_are_those_of_the_model_at_the_measured_rates(quick, tmp_path):
    record, _ = bench.bench("kernels", tmp_path, 2, 1)
    line = next(r for r in record["timings"] if r["mask"] == "causal")
    sizes = kernel_work.AttentionSizes.causal(8, 2, 2)
    both = [f(sizes).times(8) for f in (kernel_work.attention_forward, kernel_work.attention_backward)]
    slowest = max(sum(w.flops for w in both), sum(w.bytes for w in both), sum(w.exponentials for w in both))
    assert line["bound_ms"] == pytest.approx(slowest / 1e10 * 1e3, rel=1e-12)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["bench"], "what"),
        (["bench", "kernel"], "invalid choice"),
        (["bench", "kernels", "--rounds", "0"], "at least 1"),
        (["bench", "kernels", "--threads", "100000"], "cores"),
        (["bench", "training", "--dispatch", "x.json"], "attnlab bench kernels"),
        (["bench", "kernels", "--dispatch", "/no/such/folder/x.json"], "folder"),
        (["bench", "kernels", "--out", "/dev/null/x"], "/dev/null"),
    ],
)
def test_bad_arguments_exit_2_with_one_message(words, expected, capsys):
    try:
        status = cli.main(words)
    except SystemExit as stop:
        status = stop.code
    out, err = capsys.readouterr()
    assert (
        status == 2
        and not out
        and len(err.strip().splitlines()) == 1
        and expected in err
        and err.startswith("attnlab: ")
    )


def test_measured_dispatch_table_has_the_form_of_the_committed_one(monkeypatch, tmp_path):
    """One instruction set is measured at a time; what the file holds of the other stays."""
    from attnlab.kernels.attention import dispatch
    from attnlab.kernels.benchmarks import speeds

    committed = json.loads(dispatch.TABLE.read_text())
    file = tmp_path / "table.json"
    for machine in committed["times"]:
        measured = {**committed, "times": {machine: committed["times"][machine]}}
        monkeypatch.setattr(speeds, "time_table", lambda rounds, say, measured=measured: measured)
        _, text = bench.dispatch_table(file, 3)
    assert file.read_text() == dispatch.TABLE.read_text() == text + "\n"
    file.write_text("[1, 2]")
    with pytest.raises(UsageError, match="name a new file"):
        bench.dispatch_table(file, 3)


def test_a_small_table_can_be_measured():
    from attnlab.kernels.attention import cpu
    from attnlab.kernels.benchmarks.speeds import time_table

    if cpu.library(0, torch.float32, 1, 1, 1) is None:
        pytest.skip("no C compiler: there is no compiled path to time")

    heard = []
    table = time_table(2, widths=(2, 4), lengths=(2, 4), families=("softmax", "statistics"), say=heard.append)
    (found,) = table["times"].values()
    assert len(heard) == 24 and set(found["softmax"]["both"]["fixed"]) == {"c", "sdpa", "reference"}
    assert all(len(row) == 2 for row in found["statistics"]["forward"]["float64"]["query"]["c"])


def test_bench_growth_tells_what_doubling_does(capsys, monkeypatch):
    from attnlab.simulators.ensemble import growth

    heard = []
    monkeypatch.setattr(
        growth, "_measured", lambda run, setting, n, rounds: heard.append((run.name, rounds)) or (0.5, 1e7 * n)
    )
    words = ["bench", "growth", "--simulation"]
    assert (
        cli.main(
            [
                *words,
                "hard_attention_recognition.sharpness",
                *words[2:],
                "memorization.memorise",
                "--rounds",
                "3",
                "--json",
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)["simulations"]
    assert [each["simulation"] for each in found] == ["hard_attention_recognition.sharpness", "memorization.memorise"]
    assert set(heard) == {(each["simulation"], 3) for each in found}
    assert found[1]["time"]["dim"] == 0 and found[1]["memory"] == {**found[1]["time"], "replicas": 1}
    assert cli.main([*words, "memorization.memorize"]) == 2 and "memorization.memorise" in capsys.readouterr().err
    assert cli.main(["bench", "growth", "--threads", "2"]) == 2 and "--threads" in capsys.readouterr().err
    assert (
        cli.main(["bench", "kernels", *words[2:], "memorization.memorise"]) == 2 and "growth" in capsys.readouterr().err
    )


def test_bench_points_writes_every_point(tmp_path, capsys):
    small = ["--rounds", "2", "--largest", "12", "--out", str(tmp_path)]
    assert cli.main(["bench", "points", "--points", "2", *small]) == 0
    out = capsys.readouterr().out
    found = json.loads((tmp_path / "bench" / "points.json").read_text())
    sizes = [each["problems"] * each["tokens"] ** 2 * each["width"] for each in found["points"]]
    assert found["largest"] == 12 and max(sizes) <= 1 << 12
    assert len(found["points"]) == 18 and "second order" in out and "points_from_200_us" in out
    assert cli.main(["bench", "points", "--threads", "2"]) == 2 and "--threads" in capsys.readouterr().err
    assert cli.main(["bench", "points", "--situation", "hardmax"]) == 2 and "'band mask'" in capsys.readouterr().err
    assert cli.main(["bench", "kernels", "--situation", "relu"]) == 2 and "points" in capsys.readouterr().err
    assert cli.main(["bench", "points", "--largest", "3"]) == 2 and "use 8 to 40" in capsys.readouterr().err
    assert (
        cli.main(["bench", "points", "--points", "3", "--situation", "relu", *small]) == 0
        and capsys.readouterr().out.count("| relu") >= 1
    )
