"""What only a GPU can show, in at most ten minutes: ``python tests/gpu_check.py [--minutes 10] [--only SECTION ...]``.

Sections, in this order: ``correct`` (dtypes x score maps x shapes against float64), ``limits`` (more than 65,535 problems),
``graphs`` (CUDA graphs replay with new inputs), ``speed`` (against SDPA, plain torch, torch.compile and FlexAttention),
``simulators`` (every one that declares CUDA, against the CPU), ``trainer`` (seconds per step, CPU over GPU). What does not fit into the
time is listed as not run. Writes ``docs/measured/gpu_check.md``, and the trainer's ratio into
``kernels/attention/gpu/measured.json``, by which ``--device auto`` decides. ``--dry-run`` needs no device: it runs the same code on the
CPU, in Triton's interpreter where there is a kernel, on the smallest sizes, and writes to ``--out`` only.

Exit status: 0 all right, 1 something is wrong, 2 no device or a bad argument.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from gpu_check_sections import ROOT, SECTIONS, Check

TABLE, RATIOS = ROOT / "docs" / "measured" / "gpu_check.md", ROOT / "kernels" / "attention" / "gpu" / "measured.json"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument(
        "--out", type=Path, help="file of the table; default docs/measured/gpu_check.md, none for a dry run"
    )
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error(f"--minutes {options.minutes}: give a time above 0")
    if options.dry_run:
        os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported
    import torch

    if not options.dry_run and not torch.cuda.is_available():
        print(
            "gpu-check: torch finds no CUDA device here; --dry-run goes through the same code without one",
            file=sys.stderr,
        )
        return 2
    check = Check(options.dry_run, options.minutes)
    shares = dict(zip(SECTIONS, (0.35, 0.42, 0.48, 0.75, 0.9, 1.0), strict=True))
    for name, section in SECTIONS.items():
        if options.only and name not in options.only:
            continue
        for what, run in section(check):
            if check.time_left(1.0 if options.only else shares[name]) <= 0:
                check.note(name, what, "not run: out of time", None)
                continue
            try:
                check.note(name, what, *run())
            except Exception as error:  # one row that fails must not hide the others
                check.note(name, what, _said(error), False)
    out = options.out or (None if options.dry_run else TABLE)
    if out is not None:
        out.write_text(
            page(
                check, " ".join(["python tests/gpu_check.py", *(arguments if arguments is not None else sys.argv[1:])])
            ),
            encoding="utf-8",
        )
    if check.ratios and not options.dry_run:
        known = json.loads(RATIOS.read_text(encoding="utf-8"))
        known[torch.cuda.get_device_name()] = round(statistics.median(check.ratios), 2)
        RATIOS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    wrong = sum(right is False for *_, right in check.rows)
    print(f"{len(check.rows)} rows, {wrong} wrong, {time.monotonic() - check.started:.0f} s")
    return 1 if wrong else 0


def _said(error: Exception) -> str:
    """Kind and first line of an error."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:120]}"


def page(check: Check, command: str) -> str:
    """The table as a page."""
    import torch

    name = "no device: a dry run, which measures nothing" if check.dry else torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}"
    try:
        import triton

        versions += f", triton {triton.__version__}"
    except ImportError:
        versions += ", without triton"
    lines = [
        "# The GPU check",
        "",
        f"{name}; {versions}. Made by `{command}`.",
        "",
        "| section | what | result | right |",
        "|---|---|---|---|",
    ]
    for section, what, result, right in check.rows:
        lines.append(
            f"| {section} | {what} | {result} | {'' if right is None else 'yes' if right else '**no**'} |".replace(
                "|s|", "abs s"
            )
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
