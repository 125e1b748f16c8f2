"""The command line ``attnlab``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_EXIT = """exit status:
  0  every verdict as expected      1  a verdict contradicts what is expected
  2  usage or environment error     3  something undecided, vacuous, invalid, or replicas that diverged
  130  interrupted (attnlab resume goes on)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    from attnlab.papers.lab.errors import UsageError

    if argv is None:  # the workers are the parallelism; a BLAS pool in each would fight for cores
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    parser = _parser()
    arguments, left = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    if left and hasattr(arguments, "tokens") and not any(token.startswith("-") for token in left):
        arguments.tokens += left  # argparse takes no positional argument after an option
    elif left:
        parser.error(f"unrecognized arguments: {' '.join(left)}")
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    try:
        return arguments.run(arguments)
    except UsageError as error:
        print(f"attnlab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("attnlab: interrupted; finished blocks are kept, `attnlab resume` goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `attnlab list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # Python's own status for a crash, 1, would read as a contradiction
        import traceback

        traceback.print_exc()
        print("attnlab: this is an error in attnlab or in the paper module, not a verdict", file=sys.stderr)
        return 2


def main_of(package: str, argv: Sequence[str] | None = None) -> int:
    """Run a paper's package as a script: the options of ``attnlab reproduce``, the paper as target."""
    return main(["reproduce", package.rpartition(".")[2], *(sys.argv[1:] if argv is None else argv)])


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same one-line form as all others."""

    def error(self, message: str) -> Any:
        self.exit(2, f"attnlab: {message}; see `{self.prog} --help`\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="attnlab",
        epilog=_EXIT,
        description="A laboratory for the theory of attention: predict, simulate, compare.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, help: str, **more: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **more,
        )
        made.set_defaults(run=run)
        made.add_argument("--json", action="store_true", help="one JSON object on stdout, everything else on stderr")
        return made

    def folder(made: argparse.ArgumentParser) -> None:
        made.add_argument("--out", metavar="DIR", help="results folder (default: $ATTNLAB_HOME or ./attnlab-results)")

    folder(command("list", _list, "papers, claims and figures, with the latest verdicts"))
    show = command(
        "show", _show, "statement, formula, assumptions, source, settings, how it is judged, what is not testable"
    )
    show.add_argument(
        "targets", nargs="*", metavar="TARGET", help="paper, paper.claim or paper.figN (a prefix will do)"
    )
    folder(show)

    rep = command("reproduce", _reproduce, "predict, measure, compare and draw", epilog=_EXIT)
    rep.add_argument(
        "tokens",
        nargs="*",
        metavar="TARGET|KEY=VALUE",
        help="paper, paper.claim, paper.figN or all; a token with = overrides a field of the setting",
    )
    rep.add_argument(
        "--scale",
        choices=("smoke", "desk", "paper"),
        default="desk",
        help="smoke: the path works; desk: the conclusions (default); paper: the published sizes",
    )
    rep.add_argument("--set", nargs="+", action="append", default=[], metavar="KEY=VALUE", help="the same as KEY=VALUE")
    rep.add_argument("--replicas", type=_count, metavar="N", help="replicas per simulation (default: the setting's)")
    rep.add_argument("--seed", type=_natural, default=0, metavar="S", help="seed of all simulations (default 0)")
    rep.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where simulations run")
    rep.add_argument("--workers", type=_count, metavar="N", help="local processes (default: one per core)")
    rep.add_argument("--on", metavar="ADDRESS", help="run the blocks on a Dask cluster, e.g. tcp://scheduler:8786")
    folder(rep)

    fal = command("falsify", _falsify, "look for a counterexample to a claim about all inputs", epilog=_EXIT)
    fal.add_argument(
        "tokens",
        nargs="*",
        metavar="CLAIM|KEY=VALUE",
        help="paper.claim (a prefix will do); a token with = overrides a field of the setting (dim=8)",
    )
    fal.add_argument(
        "--level",
        choices=("symbolic", "certified", "searched", "sampled"),
        help="what must decide (default: search every form of the claim)",
    )
    fal.add_argument("--budget", type=_seconds, metavar="SECONDS", help="seconds for each form with its twins")
    fal.add_argument("--replay", metavar="FILE", help="evaluate a saved witness again instead of searching")
    fal.add_argument("--seed", type=_natural, default=0, metavar="S", help="seed of the search (default 0)")
    folder(fal)

    res = command("resume", _resume, "finish what was interrupted")
    res.add_argument(
        "number", nargs="?", type=_count, metavar="RUN", help="run number (default: the latest unfinished)"
    )
    folder(res)

    store = command("store", _store, "look after the results folder")
    store.add_argument(
        "action",
        choices=("list", "show", "verify", "gc"),
        help="list blocks; show one; verify every hash; gc removes what can no longer be used",
    )
    store.add_argument("key", nargs="?", metavar="KEY", help="block key, or the start of it (for show)")
    store.add_argument("--dry-run", action="store_true", help="gc: say what would be removed, remove nothing")
    folder(store)

    ben = command(
        "bench", _bench, "side-by-side timings against public alternatives, as ratios; cost model and counted work"
    )
    ben.add_argument(
        "what",
        choices=("kernels", "training"),
        help="kernels: attention on the laboratory's shapes; training: steps of an ensemble",
    )
    ben.add_argument("--rounds", type=_count, default=9, metavar="N", help="rounds of each comparison (default 9)")
    ben.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of every candidate (default 1)")
    ben.add_argument(
        "--dispatch",
        metavar="FILE",
        help="kernels: measure the sizes up to which the compiled path wins and write the table to FILE (minutes)",
    )
    folder(ben)

    folder(command("doctor", _doctor, "versions, devices, compiler, what is missing and how to get it"))
    cite = command("cite", _cite, "BibTeX of what was used")
    cite.add_argument("targets", nargs="*", metavar="TARGET", help="paper or claim, or all")
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value


def _folder(arguments: argparse.Namespace) -> Path:
    from attnlab.papers.lab.run.store import default_folder

    return Path(arguments.out) if arguments.out else default_folder()


def _print_json(record: Any) -> None:
    print(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False))


def _list(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.describe import listing
    from attnlab.papers.lab.registry import load, paper_keys

    papers = [load(key) for key in paper_keys()]
    record, text = listing(papers, _latest(_folder(arguments)))
    _print_json(record) if arguments.json else print(text)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.describe import description
    from attnlab.papers.lab.registry import select

    record, text = description(arguments.targets, select(arguments.targets), _latest(_folder(arguments)))
    _print_json(record) if arguments.json else print(text)
    return 0


def _latest(folder: Path) -> dict[str, Any]:
    """The newest verdicts, without making a results folder that is not there."""
    from attnlab.papers.lab.run.store import Store

    return Store(folder).latest_verdicts() if (folder / "catalogue.sqlite").exists() else {}


def _reproduce(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.overrides import split_tokens

    targets, overrides = split_tokens([*arguments.tokens, *(token for group in arguments.set for token in group)])
    plan = {
        "targets": targets,
        "overrides": overrides,
        "scale": arguments.scale,
        "replicas": arguments.replicas,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    return _run_plan(plan, _folder(arguments), arguments.workers, arguments.on, arguments.json)


def _falsify(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.falsify import falsify, replayed, text
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.overrides import split_tokens
    from attnlab.papers.lab.run.reproduce import exit_status

    targets, overrides = split_tokens(arguments.tokens)
    if len(targets) > 1:
        raise UsageError(f"{' '.join(targets)!r} names {len(targets)} claims; search one at a time")
    target = targets[0] if targets else None
    if arguments.replay is not None:
        if arguments.level is not None or arguments.budget is not None:
            raise UsageError("--replay evaluates one saved point: leave --level and --budget out")
        result = replayed(Path(arguments.replay), target, overrides)
    elif target is None:
        raise UsageError("no claim: name one as paper.claim, or a saved witness by --replay FILE; see `attnlab list`")
    else:
        result = falsify(target, arguments.level, arguments.budget, arguments.seed, _folder(arguments), overrides)
    _print_json(result) if arguments.json else print(text(result))
    return exit_status(result["claims"])


def _resume(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.run.store import Store

    folder = _folder(arguments)
    if not (folder / "catalogue.sqlite").exists():
        raise UsageError(f"no results in {folder}: nothing to resume; choose the folder with --out DIR")
    store = Store(folder)
    run = store.run(arguments.number)
    store.close()
    if run is None:
        if arguments.number is None:
            print("nothing to resume: every run has finished", file=sys.stderr)
            return 0
        raise UsageError(f"no run {arguments.number} in {folder}")
    plan = run["arguments"]
    print(f"resuming run {run['id']}: {' '.join(plan['targets'])} --scale {plan['scale']}", file=sys.stderr)
    return _run_plan(plan, folder, None, None, arguments.json, run["id"])


def _run_plan(
    plan: dict[str, Any],
    folder: Path,
    workers: int | None,
    address: str | None,
    as_json: bool,
    number: int | None = None,
) -> int:
    from attnlab.papers.lab.commands.doctor import check_device
    from attnlab.papers.lab.commands.report_text import run_record, summary
    from attnlab.papers.lab.registry import select
    from attnlab.papers.lab.run.display import Display
    from attnlab.papers.lab.run.reproduce import Options, exit_status, reproduce
    from attnlab.papers.lab.run.store import Store
    from attnlab.papers.lab.run.workbench import Bench

    selection = select(plan["targets"])
    device = check_device(plan["device"])
    options = Options(plan["scale"], plan["overrides"], plan["replicas"], plan["seed"])
    store = Store(folder)
    display = Display()
    bench = Bench(
        store, display, seed=options.seed, device=device, workers=workers or os.cpu_count() or 1, address=address
    )
    try:
        run = store.begin_run(plan) if number is None else number
        result = reproduce(selection, options, bench, run)
        status = exit_status(result["claims"])
        store.end_run(run, status)
        result["run"] = run_record(run, plan, store, bench, status)
    finally:
        display.close()
        bench.close()
        store.close()
    if as_json:
        _print_json(result)
        print(summary(result), file=sys.stderr)
    else:
        print(summary(result))
    return status


def _store(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.store import act
    from attnlab.papers.lab.errors import UsageError
    from attnlab.papers.lab.run.store import Store

    folder = _folder(arguments)
    if not (folder / "catalogue.sqlite").exists():
        raise UsageError(f"no results in {folder}; choose the folder with --out DIR")
    record, text, status = act(Store(folder), arguments.action, arguments.key, arguments.dry_run)
    _print_json(record) if arguments.json else print(text)
    return status


def _bench(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.bench import bench, dispatch_table
    from attnlab.papers.lab.errors import UsageError

    if arguments.dispatch is not None and (arguments.what != "kernels" or arguments.threads != 1):
        raise UsageError("--dispatch measures the kernels on one thread: use `attnlab bench kernels --dispatch FILE`")
    if arguments.threads > (os.cpu_count() or 1):
        raise UsageError(f"--threads {arguments.threads} is more than the {os.cpu_count()} cores of this machine")
    if arguments.dispatch is not None:
        record, text = dispatch_table(Path(arguments.dispatch), arguments.rounds)
    else:
        record, text = bench(arguments.what, _folder(arguments), arguments.rounds, arguments.threads)
    _print_json(record) if arguments.json else print(text)
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.doctor import examine

    record, text = examine(_folder(arguments))
    _print_json(record) if arguments.json else print(text)
    return 0


def _cite(arguments: argparse.Namespace) -> int:
    from attnlab.papers.lab.commands.describe import citations
    from attnlab.papers.lab.registry import select

    record, text = citations(select(arguments.targets).papers)
    _print_json(record) if arguments.json else print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
