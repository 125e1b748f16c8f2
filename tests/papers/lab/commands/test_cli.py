"""The command line on a toy paper: verdicts, exit statuses, JSON, resuming, damage, bad input."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

QUICK = ("--workers", 1)


def blocks(folder):
    """SHA-256 of every block in a results folder, by key."""
    with sqlite3.connect(folder / "catalogue.sqlite") as db:
        return dict(db.execute("select key, sha256 from blocks"))


def records(result):
    """The claims of a run without the seconds they took."""
    return [{k: v for k, v in claim.items() if k != "seconds"} for claim in result["claims"]]


@pytest.mark.slow
def test_expected_verdicts_exit_0_and_json_is_one_object_with_finite_numbers(cli, tmp_path):
    status, result, err = cli("reproduce", "toy2026", "--scale", "smoke", "--json", *QUICK)
    assert status == 0, err
    claims = {c["id"]: c for c in result["claims"]}
    assert claims["toy2026_walk.drift"]["verdict"] == "HOLDS" and claims["toy2026_walk.still"]["verdict"] == "REFUTED"
    assert claims["toy2026_walk.drift"]["n"] == 8 and claims["toy2026_walk.drift"]["twin_verdict"] == "REFUTED"
    assert [row["id"] for row in result["elsewhere"]] == ["toy2026_walk.far"]
    assert result["run"]["status"] == 0 and result["run"]["scale"] == "smoke"
    again = cli("reproduce", "toy2026", "--scale", "smoke", "--json", *QUICK)[1]
    assert records(again) == records(result) and again["run"]["core_seconds"] == 0


@pytest.mark.slow
def test_results_do_not_depend_on_workers_or_on_how_many_replicas_were_asked_for(cli, tmp_path):
    one, two, few = (tmp_path / name for name in ("one", "two", "few"))
    first = cli("reproduce", "toy2026", "--json", "--workers", 1, out=one)[1]
    assert records(cli("reproduce", "toy2026", "--json", "--workers", 2, out=two)[1]) == records(first)
    assert blocks(one) == blocks(two)
    cli("reproduce", "toy2026", "--json", "--replicas", 2, *QUICK, out=few)
    assert blocks(few).items() < blocks(one).items()


@pytest.mark.slow
def test_a_setting_changes_what_is_run_and_an_unread_one_does_not(cli, tmp_path):
    out = tmp_path / "results"
    cli("reproduce", "toy.drift", "--scale", "smoke", *QUICK)
    before = blocks(out)
    cli("reproduce", "toy.drift", "colour=blue", "--scale", "smoke", *QUICK)
    assert blocks(out) == before
    status, result, _ = cli("reproduce", "--set", "drift=2.5", "--json", "toy.drift", "--scale", "smoke", *QUICK)
    assert status == 0 and result["claims"][0]["predicted"] == 2.5 and len(blocks(out)) == 2 * len(before)


@pytest.mark.slow
def test_an_undecided_claim_gets_more_replicas_until_it_is_decided_unless_their_number_is_fixed(cli):
    status, result, _ = cli("reproduce", "toy.close", "--json", *QUICK)
    claim = result["claims"][0]
    assert (
        status == 0
        and claim["verdict"] == "HOLDS"
        and claim["looks"] > 1
        and claim["n"] == 4 * 2 ** (claim["looks"] - 1)
    )
    status, result, _ = cli("reproduce", "toy.close", "--json", "--replicas", 4, *QUICK)
    assert status == 3 and result["claims"][0]["verdict"] == "UNDECIDED" and result["claims"][0]["looks"] == 1


@pytest.mark.slow
def test_a_contradiction_exits_1_and_divergence_3(cli):
    assert cli("reproduce", "toy.still", "--seed", 1, *QUICK)[0] == 0  # expected REFUTED, is REFUTED
    status, _, _ = cli("reproduce", "toy.drift", "drift=-30", *QUICK)  # the twin (drift + 40) is far: still HOLDS
    assert status == 0
    status, result, _ = cli("reproduce", "toy.drift", "drift=2e6", "--json", *QUICK)
    assert status in (1, 3) and result["claims"][0]["diverged"] and result["claims"][0]["n"] == 6


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "harm", [lambda d: d[:-9], pytest.param(lambda d: d[:200] + bytes([d[200] ^ 4]) + d[201:], marks=pytest.mark.slow)]
)
def test_a_damaged_result_is_said_and_computed_again(cli, tmp_path, harm):
    out = tmp_path / "results"
    _, result, _ = cli("reproduce", "toy.drift", "--json", *QUICK)
    before = blocks(out)
    victim = sorted((out / "blocks").glob("*/*.npz"))[0]
    victim.write_bytes(harm(victim.read_bytes()))
    status, _, _ = cli("store", "verify", "--json")
    assert status == 3
    victim.write_bytes(b"")
    cli("reproduce", "toy.drift", *QUICK)  # recomputes what verify forgot
    victim.write_bytes(harm(victim.read_bytes()))
    status, again, err = cli("reproduce", "toy.drift", "--json", *QUICK)
    assert status == 0 and "is damaged" in err and "computed again" in err
    assert records(again) == records(result) and blocks(out) == before


@pytest.mark.slow
def test_twenty_kills_at_random_moments_leave_bit_identical_records(start, cli, tmp_path):
    out, clean = tmp_path / "killed", tmp_path / "clean"
    command = ("reproduce", "toy2026", "pause=0.02", "--json", "--workers", 2)
    expected = cli(*command, out=clean)[1]
    rng = np.random.default_rng(0)
    kills = 0
    while kills < 20:
        process = start(*command, out=out, start_new_session=True)
        try:
            process.wait(timeout=float(rng.uniform(0.5, 5.0)))
            for block in sorted((out / "blocks").glob("*/*.npz"))[: rng.integers(1, 3)]:
                block.unlink()  # finished: lose a block, and go on killing
        except Exception:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        process.stdout.close()
        process.stderr.close()
    status, result, err = cli(*command, out=out)
    assert status == 0, err
    assert records(result) == records(expected) and blocks(out) == blocks(clean)
    assert cli("store", "verify", out=out)[0] == 0


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_checkpoint(start, cli, tmp_path, monkeypatch):
    out, clean, count = tmp_path / "killed", tmp_path / "clean", tmp_path / "count"
    command = ("reproduce", "toy.drift", "pause=0.1", "--replicas", 4, "--json", "--workers", 1)
    expected = cli(*command, out=clean)[1]
    process = start(*command, out=out)
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/*.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.0)
    process.kill()
    process.communicate()
    left = list(out.glob("checkpoints/*.checkpoint"))
    assert len(left) == 1 and not blocks(out)
    monkeypatch.setenv("TOY_COUNT", str(count))
    status, result, err = cli("resume", "--json", out=out)
    assert status == 3, err  # 4 replicas do not decide
    assert records(result) == records(expected) and blocks(out) == blocks(clean)
    assert count.read_text().count("block") == 1 and not list(out.glob("checkpoints/*"))
    assert 0 < float(count.read_text().split()[1])  # the step it went on from
    assert cli("resume", out=out)[0] == 0  # nothing is left to resume


@pytest.mark.slow
def test_a_damaged_checkpoint_is_not_used(start, cli, tmp_path):
    out, clean = tmp_path / "killed", tmp_path / "clean"
    command = ("reproduce", "toy.drift", "--scale", "smoke", "--replicas", 4, "--json", "--workers", 1)
    expected = cli(*command, out=clean)[1]
    key = next(iter(blocks(clean)))
    (out / "checkpoints").mkdir(parents=True)
    (out / "checkpoints" / f"{key}.checkpoint").write_bytes(b"\0" * 32 + b"rubbish")
    status, result, _ = cli(*command, out=out)
    assert status in (0, 3) and records(result) == records(expected)


@pytest.mark.slow
def test_ctrl_c_exits_130_and_leaves_no_worker(start, tmp_path):
    out = tmp_path / "results"
    process = start("reproduce", "toy.drift", "pause=0.5", "--workers", 2)
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/*.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "attnlab resume" in err and "Traceback" not in err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("reproduce",), "no target"),
        (("reproduce", "nobody2020"), "unknown paper"),
        (("reproduce", "toy.drifd"), "did you mean 'drift'"),
        (("reproduce", "toy", "drifft=3"), "did you mean 'drift'"),
        (("reproduce", "toy", "n_steps=0"), "n_steps must be at least 1"),
        (("reproduce", "toy", "drift=nan"), "drift must be finite"),
        (("reproduce", "toy", "n_steps=few"), "not a whole number"),
        (("reproduce", "toy", "--replicas", "0"), "at least 1"),
        (("reproduce", "toy", "--workers", "-1"), "at least 1"),
        (("reproduce", "toy", "--scale", "huge"), "invalid choice"),
        (("reproduce", "toy", "--seed", "-3"), "at least 0"),
        (("reproduce", "toy.far"), "needs 400 steps"),
        (("reproduce", "toy", "--device", "cuda"), "no CUDA device"),
        (("show",), "no target"),
        (("cite", "x"), "unknown paper"),
        (("resume",), "nothing to resume"),
        (("store", "list"), "no results"),
        (("reproduce", "toy", "--nonsense"), "unrecognized"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_2(cli, arguments, message):
    status, out, err = cli(*arguments)
    assert status == 2 and out == "" and message in err
    assert err.startswith("attnlab: ") and err.count("\n") == 1 and "Traceback" not in err


def test_a_folder_that_cannot_be_written_is_named_and_exits_2(cli, tmp_path):
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file", tmp_path / "file" / "below", "/proc/attnlab-results"):
        status, _, err = cli("reproduce", "toy", out=bad)
        assert status == 2 and "results folder" in err and err.count("\n") == 1


@pytest.mark.slow
def test_a_file_size_limit_stops_with_exit_2_and_keeps_what_is_finished(start, cli, tmp_path):
    resource = pytest.importorskip("resource", reason="needs POSIX resource limits")
    out = tmp_path / "results"
    cli("reproduce", "toy.drift", "--scale", "smoke", *QUICK)
    before = blocks(out)

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))

    process = start("reproduce", "toy.drift", *QUICK, preexec_fn=limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "attnlab: cannot" in err and "Traceback" not in err
    assert blocks(out) == before
    assert cli("reproduce", "toy.drift", *QUICK)[0] == 0


@pytest.mark.slow
def test_list_show_cite_doctor_and_store_answer_in_text_and_json(cli):
    cli("reproduce", "toy.drift", "--scale", "smoke", *QUICK)
    listed = cli("list", "--json")[1]
    toy = next(p for p in listed["papers"] if p["key"] == "toy2026_walk")
    assert toy["claims"][0]["latest"]["verdict"] == "HOLDS" and "HOLDS (smoke)" in cli("list")[1]
    text = cli("show", "toy")[1]
    assert "not testable here: a run is finite" in text and "n_steps=10" in text
    assert "E x = n_steps drift" in cli("show", "toy", "--full")[1]
    assert cli("show", "toy.drift", "--json")[1]["claims"][0]["formula"] == "E x = n_steps drift"
    assert "@misc{toy2026_walk," in cli("cite", "toy")[1] and "attnlab" in cli("cite", "toy", "--json")[1]["entries"]
    assert cli("doctor", "--json")[1]["python"] and "results folder" in cli("doctor")[1]
    rows = cli("store", "list", "--json")[1]["blocks"]
    assert len(rows) == 2 and "end: float64 (4,)" in cli("store", "show", rows[0]["key"][:10])[1]
    collected = cli("store", "gc", "--dry-run", "--days", "0", "--json")[1]
    assert collected["stale"] == [] and collected["dry_run"] and not [p for p in collected["orphans"] if ".npz" in p]
    (run,) = cli("runs", "--json")[1]["runs"]
    assert run["state"] == "finished" and run["command"] == "attnlab reproduce toy.drift --scale smoke"
    assert "finished, status 0" in cli("runs")[1]


@pytest.mark.slow
def test_a_dask_cluster_gives_the_same_bits(cli, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        status, there, err = cli(
            "reproduce", "toy.drift", "--json", "--on", cluster.scheduler_address, out=tmp_path / "there"
        )
    assert status == 0, err
    _, here, _ = cli("reproduce", "toy.drift", "--json", *QUICK, out=tmp_path / "here")
    assert records(there) == records(here) and blocks(tmp_path / "there") == blocks(tmp_path / "here")


@pytest.mark.slow
def test_a_paper_runs_as_a_script_with_the_same_options(toy, start, tmp_path):
    import subprocess
    import sys

    environment = os.environ | {"PYTHONPATH": str(toy), "ATTNLAB_HOME": str(tmp_path / "r")}
    code = (
        f"import attnlab.papers; attnlab.papers.__path__.append({str(toy / 'papers')!r}); import runpy;"
        "import sys; sys.argv[1:] = ['--scale', 'smoke', '--workers', '1'];"
        "runpy.run_module('attnlab.papers.toy2026_walk', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "toy2026_walk.drift" in done.stdout, done.stderr


def test_every_command_is_a_file_that_configures_and_runs_and_help_lists_them_all(cli):
    import importlib

    from attnlab.papers.lab.commands.cli import commands

    text = cli("--help")[1]
    for name in commands():
        module = importlib.import_module(f"attnlab.papers.lab.commands.{name}")
        assert callable(module.configure) and callable(module.run) and f"    {name}" in text
        status, out, _ = cli(name, "--help")
        assert status == 0 and out.startswith(f"usage: attnlab {name}")


def test_no_command_loads_torch_to_tell_how_it_is_used():
    code = (
        "import argparse, importlib, sys\n"
        "from attnlab.papers.lab.commands.cli import commands\n"
        "for name in commands():\n"
        "    importlib.import_module(f'attnlab.papers.lab.commands.{name}').configure(argparse.ArgumentParser())\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_mistyped_command_begins_nothing_and_a_living_run_is_not_resumed(cli, tmp_path, start):
    out = tmp_path / "results"
    assert cli("reproduce", "toy.drift", "drfit=3")[0] == 2
    assert cli("reproduce", "toy.drift", "drift=many")[0] == 2
    assert cli("reproduce", "toy.far")[0] == 2
    assert cli("reproduce", "toy.drift", "--on", "tcp://127.0.0.1:1")[0] == 2
    assert not out.exists() or not cli("runs", "--json")[1]["runs"]
    process = start("reproduce", "toy.drift", "pause=0.5", *QUICK)
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/*.checkpoint")) and time.monotonic() < deadline:
        time.sleep(0.05)
    (run,) = cli("runs", "--json")[1]["runs"]
    assert run["state"] == "running" and run["pid"] == process.pid
    status, _, err = cli("resume")
    assert status == 0 and "still going on (run 1)" in err
    status, _, err = cli("resume", 1)
    assert status == 2 and "run 1 is going on" in err
    assert cli("store", "verify")[0] == 0  # beside a run
    status, _, err = cli("store", "gc", "--days", "0")
    assert status == 2 and "a run is going on" in err
    process.kill()
    process.communicate()
    (run,) = cli("runs", "--json")[1]["runs"]
    assert run["state"] == "interrupted"
    status, _, err = cli("resume", "--workers", 1, "--on", "tcp://127.0.0.1:1")
    assert status == 2 and ("127.0.0.1:1" in err or "needs the extra 'cluster'" in err)


@pytest.mark.slow
def test_overrides_are_seen_in_list_show_and_in_the_figure(cli, tmp_path):
    cli("reproduce", "toy.drift", "--scale", "smoke", *QUICK)
    status, result, _ = cli("reproduce", "fails2026.fine", "fails2026.fig2", "drift=2.5", "--json", *QUICK)
    assert status == 0 and result["claims"][0]["overrides"] == {"drift": 2.5}
    (figure,) = result["figures"]
    assert (
        figure["caption"].endswith("Not the declared setting: drift=2.5.")
        and "/desk/drift=2.5/fig2." in figure["files"][0]
    )
    text = cli("reproduce", "fails2026.fine", "fails2026.fig2", "drift=2.5", *QUICK)[1]
    assert "not the declared setting: drift=2.5" in text
    assert "HOLDS (desk, drift=2.5)" in cli("list")[1] and "HOLDS (desk, drift=2.5)" in cli("show", "fails2026.fine")[1]
    cli("reproduce", "fails2026.fine", "fails2026.fig2", "--scale", "smoke", *QUICK)
    listed = cli("list")[1]
    assert "HOLDS (smoke) +1 at other settings" in listed and "HOLDS (desk, drift" not in listed
    files = sorted(
        p.relative_to(tmp_path / "results" / "figures").parts[1:-1] for p in tmp_path.glob("results/**/fig2.csv")
    )
    assert files == [("desk", "drift=2.5"), ("smoke",)]


def test_what_a_paper_prints_stays_out_of_the_json_and_letters_that_cannot_be_written_are_escaped(capsys, monkeypatch):
    """The answer is one JSON object on standard output whatever else is printed and whatever letters that can write."""
    import argparse
    import io

    from attnlab.papers.lab.commands import cli, options

    def run(arguments):
        print("printed by a paper")
        options.show(arguments, {"text": "é ☃ \udcff", "nan": float("nan")}, "é ☃")
        return 3

    class Parser:
        def parse_known_args(self, words):
            return argparse.Namespace(command="runs", json="--json" in words, run=run), []

    monkeypatch.setattr(cli, "_parser", lambda wanted: Parser())
    for encoding in ("utf-8", "ascii", "latin-1"):
        for words in (["runs", "--json"], ["runs"]):
            out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
            monkeypatch.setattr(sys, "stdout", out)
            assert cli.main(words) == 3
            text = out.buffer.getvalue().decode(encoding)
            if "--json" in words:
                assert json.loads(text) == {"text": "é ☃ \udcff", "nan": None}
            else:
                assert text.startswith("printed by a paper")


@pytest.mark.parametrize("words", [["runs"], ["--version"], ["--help"]])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_standard_output_is_an_error_and_a_reader_that_has_gone_is_none(tmp_path, words):
    call = [sys.executable, "-m", "attnlab.papers.lab.commands.cli", *words]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    from attnlab.papers.lab.run.store import Store

    env["ATTNLAB_HOME"] = str(tmp_path / "results")
    Store(tmp_path / "results").close()
    with open("/dev/full", "w") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, text=True, env=env, timeout=120)
    assert done.returncode == 2 and "cannot write on standard output" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(call, stdout=writer, stderr=subprocess.PIPE, text=True, env=env, timeout=120)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_errors_of_the_system_and_numbers_out_of_range_are_one_line(cli, tmp_path):
    for words, message in (
        (("list", "--out", tmp_path / ("x" * 300)), "too long"),
        (("runs", "--out", tmp_path / ("x" * 300)), "too long"),
        (("reproduce", "toy.drift", "--seed", 2**63), "below 2^63"),
        (("check", "toy", "--power", "nan"), "between 0 and 1"),
        (("reproduce", "~no-such-user-here/paper.py"), "no home folder"),
    ):
        status, _, err = cli(*words)
        assert status == 2 and message in err and "Traceback" not in err, err


def test_a_results_folder_that_was_typed_and_holds_nothing_is_pointed_out(cli, tmp_path):
    from attnlab.papers.lab.run.store import Store

    Store(tmp_path / "there").close()
    for words in ("list", "show toy.drift"):
        status, text, err = cli(*words.split(), "--out", tmp_path / "typo")
        assert status == 0 and "toy2026_walk.drift" in text
        assert err == f"attnlab: no results in {tmp_path / 'typo'} yet; was another folder meant with --out?\n"
        assert cli(*words.split(), "--out", tmp_path / "there")[2] == cli(*words.split())[2] == ""
    assert not (tmp_path / "typo").exists()


def test_a_command_is_told_as_a_shell_takes_it_and_a_merged_run_waits_for_nobody():
    from attnlab.papers.lab.commands.resume import _waits
    from attnlab.papers.lab.commands.runs import command_of

    plan = {"targets": ["/my papers/a.py"], "overrides": {"colour": "dark red"}, "seed": 3}
    assert shlex.split(command_of(plan)) == [
        *("attnlab", "reproduce", "/my papers/a.py", "colour=dark red", "--seed", "3")
    ]
    assert _waits({"state": "interrupted", "note": None})
    assert not _waits({"state": "interrupted", "note": "run 3 of /elsewhere"})
