"""The suite under other instruction sets, libraries, thread counts and loads: ``python tests/portable.py [VARIANT ...]``.

A test that passes on one machine may owe it to that machine: to the order of sums in its BLAS, to the width of its vectors, to
an idle core. Each variant sets the environment variables that make this machine behave as another one, and runs the suite.
Without arguments all variants run that this machine can; ``--by HASH`` picks one by a commit's hash, as continuous integration
does; ``--list`` shows them. Arguments after ``--`` go to pytest. Exit status: 0 all green, 1 a variant failed, 2 a bad argument.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Variant:
    """One way to run the suite: the environment it sets, the CPU features it needs, and how many busy loops run beside."""

    why: str
    environment: dict[str, str]
    needs: tuple[str, ...] = ()
    busy: int = 0
    arguments: tuple[str, ...] = field(default=())


def libraries(torch: str, openblas: str, mkl: str, arch: str) -> dict[str, str]:
    """Variables that choose the kernels of torch, OpenBLAS (numpy, scipy), MKL (torch's products) and our own C."""
    return {"ATEN_CPU_CAPABILITY": torch, "OPENBLAS_CORETYPE": openblas, "MKL_CBWR": mkl, "ATTNLAB_ARCH": arch}


AVX2, AVX512 = ("avx2", "fma"), ("avx512f", "avx512dq", "avx512bw", "avx512vl")
VARIANTS = {
    "sse": Variant("no AVX anywhere", libraries("default", "Nehalem", "COMPATIBLE", "x86-64-v2")),
    "avx": Variant("torch without AVX2, OpenBLAS for AVX", libraries("default", "Sandybridge", "SSE4_2", "x86-64-v2")),
    "avx2": Variant("an Intel desktop processor", libraries("avx2", "Haswell", "AVX2", "x86-64-v3"), AVX2),
    "zen": Variant("an AMD processor", libraries("avx2", "Zen", "AVX2", "x86-64-v3"), AVX2),
    "avx512": Variant("an Intel server", libraries("avx512", "SkylakeX", "AVX512", "x86-64-v4"), AVX512),
    "mixed": Variant("AVX-512 in C, none in torch", libraries("default", "Haswell", "AVX2", "x86-64-v4"), AVX512),
    "no-compiler": Variant("a machine without a C compiler", {"ATTNLAB_CC": ""}),
    "no-compiler-sse": Variant(
        "neither compiler nor AVX", {**libraries("default", "Nehalem", "COMPATIBLE", "native"), "ATTNLAB_CC": ""}
    ),
    "threads": Variant(
        "two BLAS threads per process",
        {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
        arguments=("-n", "1"),
    ),
    "loaded": Variant("two busy loops beside", {}, busy=2),
}


def lacking(variant: Variant) -> list[str]:
    """CPU features that the variant needs and this machine does not have."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return list(variant.needs)
    flags = next((line.split(":", 1)[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    return [need for need in variant.needs if need not in flags]


def by_hash(digest: str) -> str:
    """The variant of a commit: the one at its hash's place among all, or where this machine cannot run that, the next one it can."""
    names = list(VARIANTS)
    place = int(digest, 16) % len(names)
    return next(name for name in names[place:] + names[:place] if not lacking(VARIANTS[name]))


def run(name: str, more: list[str]) -> int:
    """Run the suite under one variant; returns pytest's exit status."""
    variant = VARIANTS[name]
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    environment = {**os.environ, **one, **variant.environment}
    loops = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(variant.busy)]
    for loop in loops:
        loop.start()
    try:
        print(f"== {name}: {variant.why} ({_shown(variant)})", flush=True)
        workers = variant.arguments or ("-n", "2", "--dist", "worksteal")
        command = [sys.executable, "-m", "pytest", "-q", *workers, *more]
        return subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode
    finally:
        for loop in loops:
            loop.kill()


def main(arguments: list[str]) -> int:
    """Run the named variants, or all."""
    words, more = arguments, []
    if "--" in arguments:
        words, more = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    can = {name: lacking(variant) for name, variant in VARIANTS.items()}
    if words == ["--list"]:
        for name, variant in VARIANTS.items():
            print(
                f"{name:16}{variant.why} ({_shown(variant)})" + (f"; lacks {', '.join(can[name])}" if can[name] else "")
            )
        return 0
    if len(words) == 2 and words[0] == "--by":
        words = [by_hash(words[1])]
    unknown = [word for word in words if word not in VARIANTS]
    if unknown:
        print(f"unknown variant {unknown[0]!r}; known: {', '.join(VARIANTS)}", file=sys.stderr)
        return 2
    status = {}
    for name in words or VARIANTS:
        if can[name]:
            print(f"== {name}: left out, this processor lacks {', '.join(can[name])}", flush=True)
        else:
            status[name] = run(name, more)
    for name, code in status.items():
        print(f"{name:16}{'green' if code == 0 else f'red (pytest exit {code})'}")
    return int(any(status.values()))


def _shown(variant: Variant) -> str:
    return " ".join(f"{key}={value}" for key, value in variant.environment.items()) or f"{variant.busy} busy loops"


def _spin() -> None:
    while True:
        pass


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
