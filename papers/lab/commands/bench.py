"""``attnlab bench``: side-by-side timings against public alternatives, as ratios; cost model and counted work.

Here theory and kernels meet: ``theory.kernel_work`` says what a call must do, ``kernels.counters`` what it did, and the rates
measured in the same run turn the first into a lower bound on the time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attnlab.analysis.writing import write_atomically
from attnlab.papers.lab.commands.options import add_out, count, show
from attnlab.papers.lab.commands.options import folder as results_folder
from attnlab.papers.lab.errors import UsageError, did_you_mean, environment_error
from attnlab.theory.costs import own_kernels as kernel_work

Records = list[dict[str, Any]]
_SHOWN = (
    "simulation",
    "parameters",
    "numbers",
    "dtype",
    "generated_us",
    "autograd_us",
    "compile_us",
    "compile",
    "speed_of_compile",
    "jax_us",
    "jax",
    "speed_of_jax",
    "make_s",
    "compile_s",
    "path",
    "rows",
    "problems",
    "replicas",
    "batch",
    "context",
    "dim",
    "pairs",
    "labels",
    "steps",
    "queries",
    "tokens",
    "width",
    "mask",
    "pass",
    "candidate",
    "best_ms",
    "median_ms",
    "speed_against_base",
    "one_thread_ms",
    "two_threads_ms",
    "speed",
    "speed_low",
    "speed_high",
    "bound_ms",
    "dense_gflops",
    "share_of_sgemm",
    "share_of_copy",
)
#: The tables that stand beside the timings of a bench: their names in the record, and their titles.
_BESIDE = {
    "ensembles": "Every trained simulator at its default setting, 16 replicas: microseconds per replica-step of the "
    "generated step, of autograd in chunks, of torch.compile (loss and gradient of all replicas as one graph, the update "
    "eager) and of JAX (jit of scan of vmap of value_and_grad of the same loss), draws apart; speed is autograd over generated, "
    "median and quartiles, speed_of_compile and speed_of_jax those over generated. make_s: seconds of processor time in this "
    "process to trace and load; compile_s: seconds by the clock to record and compile, its cache as it is found.",
    "linear": "Causal linear and softmax attention as the length grows",
    "smallest": "The smallest calls of attention, whose fixed cost shows",
    "induction": "Two-layer induction network, whole steps. Speed against stacked models that form queries, keys and "
    "values but only the last query of layer 2.",
    "threads": "One and two threads in turn, by the wall clock: only idle cores tell. Speed of two: median and quartiles.",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """``kernels|training|points|growth`` and how it is timed."""
    parser.add_argument(
        "what",
        choices=("kernels", "training", "points", "growth"),
        help="kernels: attention on the laboratory's shapes; training: steps of an ensemble; points: attention at random sizes, "
        "each against the best plain torch; growth: time and memory of every simulation as each size is doubled",
    )
    parser.add_argument(
        "--points", type=count, default=300, metavar="N", help="points: how many sizes to draw (default 300: hours)"
    )
    parser.add_argument(
        "--largest",
        type=count,
        default=33,
        metavar="B",
        help="points: sizes with problems x tokens^2 x width up to 2^B (default 33)",
    )
    parser.add_argument(
        "--situation",
        action="append",
        metavar="NAME",
        help="points: what a call asks for, may be given again: softmax, 'constant bias', 'mask per problem', ... (default all)",
    )
    parser.add_argument(
        "--simulation",
        action="append",
        metavar="NAME",
        help="growth: which simulation, may be given again (default all: an hour or two)",
    )
    parser.add_argument("--rounds", type=count, default=9, metavar="N", help="rounds of each comparison (default 9)")
    parser.add_argument("--threads", type=count, default=1, metavar="N", help="threads of every candidate (default 1)")
    parser.add_argument(
        "--dispatch",
        metavar="FILE",
        help="kernels: measure the paths on a grid of sizes and add this instruction set to the table in FILE (minutes)",
    )
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print the tables."""
    if arguments.dispatch is not None and (arguments.what != "kernels" or arguments.threads != 1):
        raise UsageError("--dispatch measures the kernels on one thread: use `attnlab bench kernels --dispatch FILE`")
    if arguments.situation is not None and arguments.what != "points":
        raise UsageError("--situation chooses among random sizes: use `attnlab bench points --situation NAME`")
    if arguments.simulation is not None and arguments.what != "growth":
        raise UsageError("--simulation chooses what is doubled: use `attnlab bench growth --simulation NAME`")
    if arguments.what in ("points", "growth") and arguments.threads != 1:
        raise UsageError(f"{arguments.what} is timed on one thread: leave --threads away")
    if not 8 <= arguments.largest <= 40:
        raise UsageError(f"--largest {arguments.largest} is the binary logarithm of a size: use 8 to 40")
    if arguments.threads > (os.cpu_count() or 1):
        raise UsageError(f"--threads {arguments.threads} is more than the {os.cpu_count()} cores of this machine")
    if arguments.dispatch is not None:
        show(arguments, *dispatch_table(Path(arguments.dispatch), arguments.rounds))
    elif arguments.what == "growth":
        show(arguments, *growth(arguments.simulation, arguments.rounds))
    elif arguments.what == "points":
        show(
            arguments,
            *points(
                arguments.points, arguments.situation, results_folder(arguments), arguments.rounds, arguments.largest
            ),
        )
    else:
        show(arguments, *bench(arguments.what, results_folder(arguments), arguments.rounds, arguments.threads))
    return 0


def bench(what: str, folder: Path, rounds: int, threads: int) -> tuple[dict[str, Any], str]:
    """Measure ``"kernels"`` or ``"training"``: the record, and its tables as text; the figure goes to ``folder``/bench."""
    import torch

    from attnlab.kernels.benchmarks import attention as attention_bench
    from attnlab.kernels.benchmarks import icl_step as bench_training
    from attnlab.kernels.benchmarks import induction_step as bench_induction
    from attnlab.kernels.benchmarks import rivals as bench_rivals
    from attnlab.kernels.benchmarks import threads as bench_threads
    from attnlab.kernels.benchmarks import timing
    from attnlab.papers.lab.commands.bench_figure import draw
    from attnlab.simulators.ensemble import benchmark

    folder = _made(folder / "bench")
    began, before = time.monotonic(), torch.get_num_threads()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)

    torch.set_num_threads(threads)
    try:
        say("machine: sgemm, copy, exponentials")
        machine = timing.machine()
        if what == "kernels":
            say("attention on the laboratory's shapes")
            timings = attention_bench.attention_records(rounds=rounds) + attention_bench.query_records(rounds=rounds)
            beside = {
                "linear": attention_bench.linear_records(rounds=rounds),
                "smallest": attention_bench.attention_records(shapes=attention_bench.SMALLEST, rounds=20 * rounds),
            }
            say("each size varied alone")
            sizes = attention_bench.size_records(rounds=rounds)
            work = attention_bench.work_records()
            compiled, not_run = bench_rivals.compiled_records(rounds=rounds, say=say)
        else:
            say("training steps")
            timings = bench_training.training_records(rounds=max(1, rounds // 3))
            beside = {
                "ensembles": benchmark.records(rounds, say),
                "induction": bench_induction.induction_records(rounds=max(1, rounds // 3)),
            }
            say("each size varied alone")
            sizes = bench_training.size_records(rounds=rounds)
            work = bench_training.work_records()
            compiled, not_run = bench_training.compiled_records(rounds=rounds, say=say)
            machine["normals"] = bench_training.normals_records()
        say("one and two threads")
        if what == "kernels":
            beside["threads"] = bench_threads.attention_records(rounds=4 * rounds)
        else:
            beside["threads"] = bench_threads.training_records(rounds=2 * rounds) + bench_threads.induction_records(
                rounds=2 * rounds
            )
    finally:
        torch.set_num_threads(before)
    model = attention_work if what == "kernels" else step_work
    for record in (*timings, *sizes, *compiled):
        _add_bound(record, model(record), machine)
    work = [line for record in work for line in compared(record, model(record))]
    say("figure")
    figure = draw(what, sizes, folder)
    tables = {"timings": timings, **beside, "compiled": compiled, "sizes": sizes, "work": work, "not_run": not_run}
    record = {
        "bench": what,
        "machine": machine,
        **tables,
        "figures": figure,
        "rounds": rounds,
        "seconds": time.monotonic() - began,
    }
    return record, _text(what, machine, tables, figure)


def points(
    n: int, situations: list[str] | None, folder: Path, rounds: int, largest: int = 33
) -> tuple[dict[str, Any], str]:
    """Time ``attention()`` at ``n`` random sizes in each situation; all records go to ``folder``/bench/points.json.

    ``largest``: binary logarithm of the most problems x tokens^2 x width of a size.
    """
    import torch

    from attnlab.kernels.benchmarks import points as bench_points
    from attnlab.kernels.benchmarks import timing

    for name in situations or ():
        if name not in bench_points.SITUATIONS:
            raise UsageError(f"--situation {name!r} is unknown; one of {', '.join(map(repr, bench_points.SITUATIONS))}")

    folder = _made(folder / "bench")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        machine = timing.machine()
        drawn = list(bench_points.draw(n, situations or bench_points.SITUATIONS, largest=1 << largest))
        found = bench_points.records(drawn, rounds, say=lambda text: print(text, file=sys.stderr, flush=True))
    finally:
        torch.set_num_threads(before)
    summary = bench_points.summary(found)
    over = [record for record in found if record["over"]]
    record = {
        "bench": "points",
        "machine": machine,
        "summary": summary,
        "points": found,
        "rounds": rounds,
        "largest": largest,
    }
    try:
        write_atomically(folder / "points.json", json.dumps(record, indent=1).encode())
    except OSError as error:
        raise environment_error(error, f"write {folder / 'points.json'}") from None
    parts = [
        _shown_machine(machine),
        "Speed of attention() against the best plain torch at random sizes, median of the ratios within a round. over: points "
        "slower than 1.1 times torch's fused attention and 20 us (softmax), than 0.9 of the best (others), than eager (second "
        f"order).\n\n{timing.markdown(summary)}",
        *([f"Over\n\n{timing.markdown(over)}"] if over else []),
        f"all points: {folder / 'points.json'}",
    ]
    return record, "\n\n".join(parts)


def growth(names: list[str] | None, rounds: int) -> tuple[dict[str, Any], str]:
    """Exponents of time and memory in each size of every simulation, or of those named."""
    from attnlab.kernels.benchmarks import timing
    from attnlab.simulators.ensemble import growth as doubled
    from attnlab.simulators.ensemble.trainings import all_simulations

    known = list(all_simulations())
    for name in names or ():
        if name not in known:
            raise UsageError(
                f"--simulation {name!r} is none of the {len(known)} simulations{did_you_mean(name, known)}; they are named "
                "subject.function, like in_context_regression.train"
            )
    machine = timing.machine()
    found = doubled.records(rounds, lambda text: print(text, file=sys.stderr, flush=True), names or ())
    text = (
        f"{_shown_machine(machine)}\n\nA block at the default setting, made smaller until it takes {doubled.LONGEST:g} s: "
        "seconds, megabytes beyond what was held before, and log2 of what doubling each size alone does to the time [and to the "
        f"memory, above {doubled.SMALL_MEMORY / 1e6:.0f} MB].\n\n{timing.markdown(doubled.table(found))}"
    )
    return {"bench": "growth", "machine": machine, "simulations": found}, text


def _shown_machine(machine: dict[str, Any]) -> str:
    return (
        f"{machine['cpu']}, {machine['threads']} thread(s), torch {machine['torch']}, {machine['compiler']}; "
        f"sgemm {machine['sgemm_gflops']:.0f} GFLOP/s, copy {machine['copy_gb_per_s']:.1f} GB/s, "
        f"{machine['exp_giga_per_s']:.2f} G exp/s"
    )


def dispatch_table(path: Path, rounds: int) -> tuple[dict[str, Any], str]:
    """Measure the paths on this machine's instruction set, and write the table of ``kernels/attention/dispatch.json``.

    What ``path`` holds of other instruction sets stays.
    """
    from attnlab.kernels.benchmarks.speeds import time_table

    if not path.parent.is_dir():
        raise UsageError(f"--dispatch {str(path)!r}: the folder {str(path.parent)!r} is not there")
    before = _table_before(path)
    table: dict[str, Any] = time_table(rounds=rounds, say=lambda text: print(text, file=sys.stderr, flush=True))
    if all(before.get(name) == table[name] for name in ("lengths", "widths")):
        table["times"] = dict(sorted({**before["times"], **table["times"]}.items()))
    text = _on_lines(table)
    try:
        write_atomically(path, (text + "\n").encode())
    except OSError as error:
        raise environment_error(error, f"write {path}") from None
    return {"bench": "kernels", "dispatch": table, "file": str(path)}, text


def _table_before(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--dispatch {str(path)!r} is no table that another instruction set can be added to: {error}"
        ) from None
    if not isinstance(found, dict) or "times" not in found:
        raise UsageError(
            f"--dispatch {str(path)!r} is no table that another instruction set can be added to; name a new file"
        )
    return found


def _on_lines(value: object, indent: str = "") -> str:
    """JSON with a line for each list of numbers or of such lists."""
    if not isinstance(value, dict):
        return json.dumps(value)
    inner = indent + " "
    lines = (f"{inner}{json.dumps(name)}: {_on_lines(part, inner)}" for name, part in value.items())
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def attention_work(record: dict[str, Any]) -> kernel_work.KernelWork:
    """What the call of a record must do, all problems together."""
    n_q, n, d = (record[name] for name in ("queries", "tokens", "width"))
    sizes = (
        kernel_work.AttentionSizes.causal(n, d, d)
        if record["mask"] == "causal"
        else kernel_work.AttentionSizes(n_q, n, d, d)
    )
    forward, backward = kernel_work.attention_forward(sizes), kernel_work.attention_backward(sizes)
    if record.get("path") == "reference":  # it computes hidden pairs, and keeps the weights
        forward, backward = kernel_work.unfused_forward(sizes), kernel_work.unfused_backward(sizes)
    passes = {"forward": [forward], "backward": [backward]}.get(record.get("pass"), [forward, backward])
    return _sum(passes).times(record["problems"])


def step_work(record: dict[str, Any]) -> kernel_work.KernelWork:
    """What loss and gradient of a training step must do (d = 5, 4 heads), all replicas together."""
    step = kernel_work.in_context_step(
        5, record["context"], 4, width=6, causal=record["rows"] == "causal", batch=record["batch"]
    )
    return step.times(record["replicas"])


def compared(record: dict[str, Any], predicted: kernel_work.KernelWork) -> Records:
    """One line a quantity: what the cost model says, what was counted, and the ratio (1: exactly the model)."""
    names = {"multiply_adds": predicted.multiply_adds, "exponentials": predicted.exponentials, "bytes": predicted.bytes}
    sizes = {key: value for key, value in record.items() if key not in names}
    return [
        {
            **sizes,
            "quantity": name,
            "model": value,
            "counted": record[name],
            "counted_over_model": record[name] / value if value else None,
        }
        for name, value in names.items()
    ]


def _sum(parts: list[kernel_work.KernelWork]) -> kernel_work.KernelWork:
    return kernel_work.KernelWork(
        *(
            sum(getattr(part, name) for part in parts)
            for name in ("multiply_adds", "exponentials", "bytes_read", "bytes_written")
        )
    )


def _add_bound(record: dict[str, Any], work: kernel_work.KernelWork, machine: dict[str, Any]) -> None:
    """Lower bound from the rates of this run, and the compulsory bytes as a rate."""
    rates = {
        "peak_flops": 1e9 * machine["sgemm_gflops"],
        "bandwidth": 1e9 * machine["copy_gb_per_s"],
        "exp_rate": 1e9 * machine["exp_giga_per_s"],
    }
    record["bound_ms"] = 1e3 * kernel_work.lower_bound_seconds(work, **rates)
    record["gb_per_s"] = work.bytes / record["best_ms"] / 1e6
    record["share_of_copy"] = record["gb_per_s"] / machine["copy_gb_per_s"]


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise environment_error(error, f"make the folder {folder}") from None
    return folder


def _text(what: str, machine: dict[str, Any], tables: dict[str, Records], figure: list[str]) -> str:
    from attnlab.kernels.benchmarks.timing import markdown

    def table(name: str, columns: Callable[[dict[str, Any]], dict[str, Any]] = lambda r: r) -> str:
        groups: dict[tuple, Records] = {}
        for record in map(columns, tables[name]):
            groups.setdefault(tuple(record), []).append(record)
        return "\n\n".join(markdown(records) for records in groups.values())

    def shown(record: dict[str, Any]) -> dict[str, Any]:
        return {key: record[key] for key in _SHOWN if key in record}

    base = "torch sdpa" if what == "kernels" else "the loop with projections"
    parts = [
        _shown_machine(machine),
        f"Timings. Speed against {base}: median and quartiles of the ratios within a round. bound_ms: cost model at the "
        "rates above.\n\n" + table("timings", shown),
    ]
    parts += [f"{title}\n\n{table(name, shown)}" for name, title in _BESIDE.items() if name in tables]
    if tables["compiled"]:
        parts.append("With what torch compiles\n\n" + table("compiled", shown))
    parts.append("Cost model and counted work\n\n" + table("work"))
    if what == "training":
        parts.append("Standard normals\n\n" + markdown(machine["normals"]))
    parts += [f"not run: {line['candidate']}, {line['pass']}: {line['reason']}" for line in tables["not_run"]]
    return "\n\n".join([*parts, "figure: " + "  ".join(figure)])
