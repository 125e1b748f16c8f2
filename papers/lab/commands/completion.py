"""``attnlab completion``: print the lines that teach a shell to complete commands, options, papers and claims."""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Iterator

from attnlab.papers.lab.commands.options import show
from attnlab.papers.lab.errors import UsageError

HOW = {
    "bash": 'eval "$(attnlab completion bash)"        in ~/.bashrc',
    "zsh": 'eval "$(attnlab completion zsh)"         in ~/.zshrc, after compinit',
    "fish": "attnlab completion fish | source         in ~/.config/fish/config.fish",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """``SHELL``."""
    parser.add_argument("shell", choices=tuple(HOW), help="; ".join(" ".join(line.split()) for line in HOW.values()))


def run(arguments: argparse.Namespace) -> int:
    """Print the shell's code (made by argcomplete)."""
    try:
        import argcomplete
    except ImportError:
        raise UsageError("completion needs argcomplete: pip install 'attnlab[completion]'") from None
    code = argcomplete.shellcode(["attnlab"], shell=arguments.shell)
    show(arguments, {"shell": arguments.shell, "code": code}, code)
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end the process; called only then."""
    try:
        import argcomplete
    except ImportError:
        sys.exit(1)
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for command in subparsers.choices.values():
        for action in command._actions:
            if action.dest in ("targets", "tokens", "target", "claim"):
                action.completer = targets
    argcomplete.autocomplete(parser, always_complete_options=False, exclude=["--help"])


def words_typed() -> list[str]:
    """The words on the command line that a shell asks completions for, without the program's name."""
    return os.environ.get("COMP_LINE", "").split()[1:]


def targets(prefix: str = "", **_unused: object) -> list[str]:
    """Papers, and after a dot the claims and figures of one, found without importing them."""
    from attnlab.papers.lab.registry import own_keys

    keys = own_keys()
    paper, dot, _ = prefix.partition(".")
    if not dot:
        return [*keys, "all"]
    return [f"{paper}.{name}" for key in keys if key.startswith(paper) for name in _items(key)]


def _items(key: str) -> Iterator[str]:
    """The names given to ``@paper.claim``, ``@paper.for_all`` and ``@paper.figure`` in the files of a paper's folder."""
    from pathlib import Path

    import attnlab.papers

    for home in attnlab.papers.__path__:
        for file in sorted((Path(home) / key).glob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Call)
                    and getattr(node.func, "attr", "") in ("claim", "for_all", "figure")
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                ):
                    yield str(node.args[0].value)
