"""``attnlab doctor``: versions, devices, compiler, what is missing and how to get it."""

from __future__ import annotations

import argparse
import os
import platform as machine
import re
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from attnlab.papers.lab.commands.options import add_out, folder, show
from attnlab.papers.lab.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def configure(parser: argparse.ArgumentParser) -> None:
    """``--out DIR``."""
    add_out(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is there and what is missing."""
    show(arguments, *examine(folder(arguments)))
    return 0


def check_device(device: str) -> str:
    """``"cpu"`` or ``"cuda"`` for what was asked; ``auto`` takes a GPU only if a committed measurement says that it is faster."""
    if device == "cpu":
        return "cpu"
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no CUDA device here; use --device cpu, or see `attnlab doctor`")
    if device == "cuda":
        return "cuda"
    from attnlab.kernels.attention.gpu.measured import trains_faster

    return "cuda" if torch.cuda.is_available() and trains_faster(torch.cuda.get_device_name()) else "cpu"


def examine(folder: Path) -> tuple[dict[str, Any], str]:
    """A record of the installation and the same as text, with advice where something is missing."""
    import torch

    packages = {extra: {name: _version(name) for name in names} for extra, names in declared().items()}
    from attnlab.kernels.compiled.compiler import compiler_report, working_target

    works, reason = working_target()  # builds, keeps and loads a library
    report = compiler_report()
    compiler = report["compiler"]
    writable = _writable(folder)
    record: dict[str, Any] = {
        "attnlab": _version("attnlab"),
        "python": machine.python_version(),
        "system": machine.platform(),
        "packages": packages,
        "cores": os.cpu_count(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "compiler": {key: report[key] for key in ("compiler", "version", "target", "cache")},
        "training_steps": f"generated, built by {report['version']}" if works else f"autograd ({reason})",
        "results_folder": str(folder),
        "writable": writable,
        "advice": [],
    }
    advice: list[str] = record["advice"]
    for extra, names in packages.items():
        missing = [name for name, found in names.items() if found is None]
        if missing and extra == "required":
            advice.append(f"missing {', '.join(missing)}: pip install attnlab again")
        elif missing:
            advice.append(f"optional extra '{extra}' lacks {', '.join(missing)}: pip install 'attnlab[{extra}]'")
    if compiler is None:
        advice.append(
            f"no C compiler ({report['reason']}): everything runs on torch, ten times slower; pip install 'attnlab[cc]', "
            "or install clang or gcc"
        )
    if report["failed"]:
        advice.append(f"builds that failed: {report['failed']}; everything runs on torch instead")
    if not record["cuda"]:
        advice.append("no CUDA device: simulations run on the CPU")
    if not writable:
        advice.append(f"the results folder {folder} cannot be written: choose another with --out DIR or ATTNLAB_HOME")
    lines = [
        f"attnlab {record['attnlab']}   Python {record['python']}   {record['system']}",
        f"cores {record['cores']}   instruction set {record['instruction_set']}   "
        f"CUDA {', '.join(record['cuda']) or 'none'}   compiler {compiler or 'none'}",
        f"training steps {record['training_steps']}",
        f"results folder {folder} ({'writable' if writable else 'not writable'})",
    ]
    for extra, names in packages.items():
        lines.append(f"{extra + ':':<12}" + "  ".join(f"{name} {found or 'missing'}" for name, found in names.items()))
    return record, "\n".join([*lines, *(f"→ {line}" for line in advice)])


def declared() -> dict[str, list[str]]:
    """The packages that attnlab needs, under ``required``, and those of each extra, as its installed metadata lists them."""
    found: dict[str, list[str]] = {"required": []}
    for line in requires("attnlab") or []:
        name, extra = _NAME.match(line), _EXTRA.search(line)
        found.setdefault(extra[1] if extra else "required", []).append(name[0] if name else line)
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _writable(folder: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, takes files."""
    existing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("/"))
    return existing.is_dir() and os.access(existing, os.W_OK)
