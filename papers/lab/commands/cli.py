"""The command line ``attnlab``: one command per file of this folder. Nothing heavy is imported before a command needs it.

A file whose docstring starts with ``attnlab NAME``, NAME its own name, is the command NAME; the sentence that follows is its
line in ``attnlab --help``. It defines ``configure(parser)``, which adds its arguments, and ``run(arguments) -> exit status``.
Only the command that was asked for is imported.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXIT = """exit status:
  0  every verdict as expected      1  a verdict contradicts what is expected
  2  usage or environment error     3  something undecided, vacuous, invalid, failed, or replicas that diverged
  130  interrupted (attnlab resume goes on)"""
_CHOICE = re.compile(r"invalid choice: '(.*?)' \(choose from (.*)\)")
_DOCSTRING = re.compile(r'r?"""``attnlab (\w+)``: (.+?)(?:\.\s|\."""|\n\n|""")', re.DOTALL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    from attnlab.papers.lab.run import interrupt

    if argv is None:  # the workers are the parallelism; a BLAS pool in each would fight for cores
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, "1")
    _write_any_letter()
    try:
        with interrupt.watched():
            status = _written(_main(list(sys.argv[1:] if argv is None else argv)))
    except KeyboardInterrupt:
        print(interrupt.message(), file=sys.stderr)
        status = 130
    except SystemExit as end:  # of argparse: --help, --version, a usage error
        raise SystemExit(_written(end.code)) from None
    if (
        argv is None and status and threading.active_count() > 1
    ):  # a judge in the middle of a search: do not wait for it
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)
    return status


def _answer(words: list[str]) -> int:
    """Find the command among the words, and let it run."""
    if "_ARGCOMPLETE" in os.environ:
        from attnlab.papers.lab.commands.completion import complete, words_typed

        complete(_parser(next(iter(words_typed()), None)))
    wanted = next((word for word in words if not word.startswith("-")), None)
    parser = _parser(wanted)
    if wanted is not None and wanted not in commands():
        from attnlab.papers.lab.errors import nearest

        parser.error(f"unknown command {wanted!r}{nearest(wanted, commands())}")
    arguments, left = parser.parse_known_args(words)
    if left and hasattr(arguments, "tokens") and not any(token.startswith("-") for token in left):
        arguments.tokens += left  # argparse takes no positional argument after an option
    elif left:
        _refuse(parser, wanted, left)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    arguments.stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        return arguments.run(arguments)  # with --json only the command's own answer reaches standard output


def _main(words: list[str]) -> int:
    """The exit status of the command; what goes wrong on the way is said in one line, or is an error of ours."""
    from attnlab.papers.lab.errors import UsageError

    try:
        return _answer(words)
    except UsageError as error:
        print(f"attnlab: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(
            f"attnlab: {str(error) or 'out of memory'}; use fewer --workers: finished blocks are kept", file=sys.stderr
        )
        return 2
    except Exception as error:  # Python's own status for a crash, 1, would read as a contradiction
        import traceback

        from attnlab.papers.lab.errors import of_the_system

        if isinstance(error, OSError) and of_the_system(error):
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f" ({error.filename})" if error.filename else ""
            print(
                f"attnlab: cannot go on{where}: {of_the_system(error)} [{Path(place.filename).name}:{place.lineno}]",
                file=sys.stderr,
            )
            return 2
        traceback.print_exc()
        print("attnlab: this is an error in attnlab or in the paper module, not a verdict", file=sys.stderr)
        return 2


def _write_any_letter() -> None:
    """A letter that a terminal's encoding lacks, or a file name that is no text, is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            if stream.errors != "backslashreplace":
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def _written(status: Any) -> Any:
    """The exit status, once standard output is written: 2 if it cannot be; a reader that has gone changes nothing."""
    from attnlab.papers.lab.commands.options import mute

    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        mute(sys.stdout)
    except (OSError, ValueError) as error:
        mute(sys.stdout)
        print(f"attnlab: cannot write on standard output: {error}", file=sys.stderr)
        return 2
    return status


def main_of(package: str, argv: Sequence[str] | None = None) -> int:
    """Run a paper's package as a script: the options of ``attnlab reproduce``, the paper as target."""
    return main(["reproduce", package.rpartition(".")[2], *(sys.argv[1:] if argv is None else argv)])


def commands(folder: Path = Path(__file__).parent) -> dict[str, str]:
    """The commands by name, each with its line of help, read from the files without importing them."""
    found = {}
    for file in sorted(folder.glob("*.py")):
        said = _DOCSTRING.match(file.read_text(encoding="utf-8"))
        if said and said[1] == file.stem:
            found[said[1]] = " ".join(said[2].split())
    return found


class _Parser(argparse.ArgumentParser):
    """Usage errors in the same one-line form as all others, with the nearest word where one of several was expected."""

    def error(self, message: str) -> Any:
        choice = _CHOICE.search(message)
        if choice:
            from attnlab.papers.lab.errors import did_you_mean

            message += did_you_mean(choice[1], re.findall(r"[\w-]+", choice[2]))
        self.exit(2, f"attnlab: {message}; see `{self.prog} --help`\n")


def _refuse(parser: argparse.ArgumentParser, command: str | None, left: Sequence[str]) -> None:
    """An error for words that no argument takes, with the nearest option, from the parser of the command where there is one."""
    from attnlab.papers.lab.errors import did_you_mean

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and command is not None:
            parser = action.choices[command]
    strange = next((word for word in left if word.startswith("-")), "").partition("=")[0]
    near = did_you_mean(strange, [name for name in parser._option_string_actions if name.startswith("--")])
    parser.error(f"unrecognized arguments: {' '.join(left)}{near}")


class _Version(argparse.Action):
    """Look the version up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        from attnlab.papers.lab.commands.options import tell

        tell(f"attnlab {version('attnlab')}")
        parser.exit()


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    """The parser of all commands, with the arguments of the wanted one."""
    parser = _Parser(
        prog="attnlab",
        epilog=EXIT,
        description="A laboratory for the theory of attention: predict, simulate, compare.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, line in commands().items():
        made = subparsers.add_parser(
            name,
            help=line,
            description=line[0].upper() + line[1:] + ".",
            epilog=EXIT if name in ("reproduce", "falsify", "resume") else None,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == wanted:
            module = importlib.import_module(f"{__package__}.{name}")
            module.configure(made)
            made.set_defaults(run=module.run)
            made.add_argument(
                "--json", action="store_true", help="one JSON object on stdout, everything else on stderr"
            )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
