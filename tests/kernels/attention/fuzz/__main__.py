"""``python tests/kernels/attention/fuzz --cases 20000 [--first SEED] [--wide] [--triton] [--case JSON]``: random calls, the failing ones shrunk."""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from cases import Call, random_case, smaller, tidy
from check import check


def fails(case):
    """Why a case is wrong, or None; a crash of the call is one as well."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(case)
    except Exception as error:
        return f"{type(error).__name__}: {error}".split("\n")[0]
    return None


def shrunk(case, why):
    """The simplest case on the way down that still fails in the same way, and why."""
    if fails(case) is None:
        return case, f"{why} (once: the same call again is right)"
    moved = True
    while moved:
        moved = False
        for simpler in smaller(case):
            simpler = tidy(dict(simpler))
            if simpler == case:
                continue
            found = fails(simpler)
            if found is not None and found.split(":")[0] == why.split(":")[0]:
                case, why, moved = simpler, found, True
                break
    return case, why


def snippet(case):
    """A few lines that make the call alone."""
    call = Call(case)
    lines = ["import torch", "from torch import inf, nan, tensor", "from attnlab.kernels.attention import attention"]
    for name, x, layout in zip("qkv", call.tensors, case["layout"], strict=True):
        lines.append(f"{name} = tensor({x.detach().tolist()}, dtype=torch.{case['dtype']})  # layout: {layout}")
    if call.bias is not None:
        lines.append(
            f"bias = tensor({call.bias.detach().tolist()}, dtype=torch.{case['dtype']})  # kind: {case['bias']}"
        )
    mask = f"tensor({call.mask.tolist()})" if hasattr(call.mask, "tolist") else repr(call.mask)
    sink = call.sink.tolist() if hasattr(call.sink, "tolist") else call.sink
    scale = call.scale.tolist() if hasattr(call.scale, "tolist") else call.scale
    lines.append(f"# {case['score']}, sink {sink}, mode {case['mode']}")
    lines.append(f"attention(q, k, v, mask={mask}, scale={scale}, statistics={call.statistics}, path={case['path']!r})")
    return "\n".join(lines)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--wide", action="store_true", help="more widths (each is a build of its own)")
    parser.add_argument(
        "--triton", action="store_true", help="the Triton kernels, with TRITON_INTERPRET=1 in the environment"
    )
    parser.add_argument("--case", help="one case, as printed")
    parser.add_argument("--stop", type=int, default=5, help="stop after so many failures")
    options = parser.parse_args(arguments)
    if options.case:
        case = json.loads(options.case)
        print(fails(case) or "right")
        return 0
    start, failed = time.perf_counter(), 0
    for seed in range(options.first, options.first + options.cases):
        case = random_case(seed, options.wide, options.triton)
        why = fails(case)
        if why is None:
            continue
        failed += 1
        case, why = shrunk(case, why)
        print(f"seed {seed}: {why}\n{json.dumps(case)}\n{snippet(case)}\n", flush=True)
        if failed >= options.stop:
            break
    print(f"{options.cases} cases from seed {options.first}: {failed} wrong, {time.perf_counter() - start:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main())
