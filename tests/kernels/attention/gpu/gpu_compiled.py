"""Run by test_gpu.py in a process of its own: compiles the kernels for GPUs that are not there and reads the machine code.

No spills (stack 0, no local stores), shared memory that fits every card, and no tensor-core instruction in the float32
build, which would mean tf32. float64 products do use tensor cores (exactly).
"""

import os
import pathlib
import re
import subprocess
import tempfile

import pytest
import torch

assert os.environ.get("TRITON_INTERPRET") != "1", "compiling needs triton's own functions undecorated"
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
os.environ["TRITON_CACHE_DIR"] = tempfile.mkdtemp()

triton = pytest.importorskip("triton")
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from attnlab.kernels.attention import gpu  # noqa: E402
from attnlab.kernels.attention.masks import Causal, Window  # noqa: E402
from attnlab.kernels.attention.problem import Problem, rows_of_mask  # noqa: E402
from attnlab.kernels.attention.scores import SCORE_MAPS, score_map  # noqa: E402
from attnlab.kernels.attention.statistics import Mass  # noqa: E402

TOOLS = pathlib.Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
KERNELS = ("forward", "dq", "dkv")
POINTERS = {torch.float32: "*fp32", torch.float64: "*fp64", torch.bfloat16: "*bf16", torch.float16: "*fp16"}

CAUSAL = Causal()
#: Bytes of stack of the builds that are not clean. Tile sizes were chosen on 3.7 for the built-in maps; formulas may cost more.
KNOWN = {
    "3.7": {
        "test_maps_from_a_formula_build_without_spills[exp(30*tanh(s/30))-dkv]": 8,
        "test_softmax_builds_without_spills[forward-bfloat16-128-sm_80]": 8,
    },
    "3.6": {
        "test_softmax_builds_without_spills[dkv-bfloat16-6-sm_90]": 8,
        "test_packed_problems_build_without_spills[float32-(5, 5)-True-forward]": 8,
        "test_packed_problems_build_without_spills[float64-(1, 40)-False-forward]": 8,
        "test_packed_problems_build_without_spills[float64-(5, 5)-False-forward]": 8,
        "test_packed_problems_build_without_spills[bfloat16-(1, 40)-True-forward]": 8,
        "test_statistics_build_without_spills[float32-6-sm_90-forward]": 8,
        "test_statistics_build_without_spills[float32-6-sm_90-dkv]": 16,
    },
    "3.9": {
        "test_softmax_builds_without_spills[dkv-float64-64-sm_90]": 8,
        "test_bias_builds_without_spills[64-90-dkv]": 8,
        "test_packed_problems_build_without_spills[float64-(1, 40)-False-forward]": 8,
        "test_statistics_build_without_spills[float32-6-sm_80-forward]": 8,
        "test_statistics_build_without_spills[bfloat16-64-sm_80-dq]": 8,
    },
}


def report(
    kernel, dtype, width, score="softmax", capability=90, mask=CAUSAL, bias=False, statistics=False, sizes=(64, 64)
):
    """Stack, spills, shared memory and tensor-core instructions of one build."""
    score = SCORE_MAPS[score] if isinstance(score, str) else score
    function = getattr(gpu.kernels_of(score), f"{kernel}_kernel")
    problem = Problem(1.0, score, rows_of_mask(mask, *sizes), (), Mass())
    fixed = gpu.constants(problem, dtype, *sizes, width, width, kernel, bias, bias, statistics)
    accumulator = "*fp64" if dtype == torch.float64 else "*fp32"
    flags = {torch.int64: "*i64", torch.uint8: "*u8"}[gpu.flag_dtype(dtype)]
    types = {
        **dict.fromkeys(("n_problems", "n_q", "n_k"), "i32"),
        **dict.fromkeys(("mask", "in_mass"), flags),
        **dict.fromkeys(("scalars", "rows_m", "rows_u", "rows_delta", "record", "slopes_of"), accumulator),
    }
    names = function.arg_names
    signature = {n: "constexpr" if n in fixed else types.get(n, POINTERS[dtype]) for n in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if signature[n].startswith("*")}
    source = ASTSource(
        fn=function, signature=signature, constexprs={(names.index(n),): x for n, x in fixed.items()}, attrs=aligned
    )
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4, "num_stages": 2})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(built.asm["cubin"])
        file.flush()
        usage = subprocess.run(
            [TOOLS / "cuobjdump", "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    sass = built.asm["sass"]
    return {
        "stack": int(re.search(r"STACK:(\d+)", usage.stdout)[1]),
        "shared": built.metadata.shared,
        "spills": len(re.findall(r"\b(?:STL|LDL)\b", sass)),
        "tensor_core": len(re.findall(r"\b(?:HMMA|HGMMA|IMMA)\b", sass)),
    }


@pytest.fixture
def fits(request):
    """No spills beyond what is known of this version and build, and shared memory that every card has."""
    version = ".".join(triton.__version__.split(".")[:2])
    allowed = KNOWN.get(version, {}).get(request.node.name, 0)
    return lambda found: max(found["stack"], found["spills"]) <= allowed and found["shared"] <= 99 * 1024


def cases():
    """(kernel, dtype, width, capability): what every run of the suite builds, and marked slow all others that are shipped."""
    found = []
    always = {(torch.float32, 6, 90), (torch.bfloat16, 64, 80)}
    widths = {torch.float32: (6, 32, 64, 128), torch.float64: (6, 32, 64), torch.bfloat16: (6, 64, 128)}
    for dtype in widths:
        for width in widths[dtype]:
            for capability in (80, 90):
                marks = () if (dtype, width, capability) in always else pytest.mark.slow
                for kernel in KERNELS:
                    name = f"{kernel}-{str(dtype).removeprefix('torch.')}-{width}-sm_{capability}"
                    found.append(pytest.param(kernel, dtype, width, capability, marks=marks, id=name))
    return found


@pytest.mark.parametrize(("kernel", "dtype", "width", "capability"), cases())
def test_softmax_builds_without_spills(kernel, dtype, width, capability, fits):
    found = report(kernel, dtype, width, capability=capability)
    assert fits(found)
    if dtype == torch.float32:
        assert found["tensor_core"] == 0
    if dtype == torch.bfloat16:
        assert found["tensor_core"] > 0


@pytest.mark.parametrize(
    ("score", "kernel"),
    [
        pytest.param(
            score, kernel, marks=() if (score, kernel) in {("power", "dkv"), ("softplus", "dkv")} else pytest.mark.slow
        )
        for score in ("softpick", "sigmoid", "linear", "relu", "power", "relu_power", "softplus", "signed")
        for kernel in KERNELS
    ],
)
def test_other_maps_build_without_spills(score, kernel, fits):
    found = report(kernel, torch.float32, 6, score=score)
    assert fits(found) and found["tensor_core"] == 0


@pytest.mark.parametrize(
    ("formula", "kernel"),
    [
        pytest.param(formula, kernel, marks=() if (formula, kernel) == ("log(1 + exp(s))", "dkv") else pytest.mark.slow)
        for formula in ("log(1 + exp(s))", "exp(-s**2)", "relu(s)**3", "exp(30*tanh(s/30))")
        for kernel in KERNELS
    ],
)
def test_maps_from_a_formula_build_without_spills(formula, kernel, fits):
    found = report(kernel, torch.float32, 6, score=score_map(formula, divide="sum"))
    assert fits(found) and found["tensor_core"] == 0


@pytest.mark.parametrize(
    ("width", "capability", "kernel"),
    [
        pytest.param(
            width, capability, kernel, marks=() if (width, capability, kernel) == (6, 90, "dq") else pytest.mark.slow
        )
        for width in (6, 32, 64)
        for capability in (80, 90)
        for kernel in KERNELS
    ],
)
def test_bias_builds_without_spills(width, capability, kernel, fits):
    found = report(kernel, torch.float32, width, bias=True, capability=capability)
    assert fits(found) and found["tensor_core"] == 0


@pytest.mark.parametrize(
    ("dtype", "sizes", "statistics", "kernel"),
    [
        pytest.param(
            dtype,
            sizes,
            statistics,
            kernel,
            marks=()
            if (dtype, sizes, statistics, kernel) == (torch.float32, (1, 40), False, "dkv")
            else pytest.mark.slow,
            id=f"{str(dtype).removeprefix('torch.')}-{sizes}-{statistics}-{kernel}",
        )
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        for sizes in ((1, 40), (5, 5))
        for statistics in (False, True)
        for kernel in KERNELS
    ],
)
def test_packed_problems_build_without_spills(dtype, sizes, statistics, kernel, fits):
    """The usual and the largest width; no product, so no tensor-core instruction either."""
    for width, capability in ((6, 80), (6, 90), (8 if dtype == torch.float64 else 16, 90)):
        assert gpu.is_packed(dtype, *sizes, width)
        found = report(kernel, dtype, width, mask=None, capability=capability, statistics=statistics, sizes=sizes)
        assert fits(found) and found["tensor_core"] == 0


@pytest.mark.parametrize(
    ("dtype", "kernel"),
    [
        pytest.param(
            dtype,
            kernel,
            marks=() if dtype == torch.float64 and kernel == "dq" else pytest.mark.slow,
            id=f"{str(dtype).removeprefix('torch.')}-{kernel}",
        )
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        for kernel in KERNELS
    ],
)
def test_masks_build_without_spills(dtype, kernel, fits):
    found = report(kernel, dtype, 16, mask=Window(2, 1))
    assert fits(found)


@pytest.mark.parametrize(
    ("dtype", "width", "capability", "kernel"),
    [
        pytest.param(
            dtype,
            width,
            capability,
            kernel,
            marks=() if (dtype, width, capability, kernel) == (torch.float32, 6, 90, "dkv") else pytest.mark.slow,
            id=f"{str(dtype).removeprefix('torch.')}-{width}-sm_{capability}-{kernel}",
        )
        for dtype, width in (
            (torch.float32, 6),
            (torch.float32, 64),
            (torch.float64, 6),
            (torch.float64, 64),
            (torch.bfloat16, 64),
        )
        for capability in (80, 90)
        for kernel in KERNELS
    ],
)
def test_statistics_build_without_spills(dtype, width, capability, kernel, fits):
    found = report(kernel, dtype, width, capability=capability, statistics=True)
    assert fits(found)


def test_gate_sees_spills(monkeypatch, fits):
    """The twin: tiles too large for float32."""
    monkeypatch.setattr(gpu, "tiles", lambda dtype, width, statistics: {"dkv": (64, 64)})
    assert not fits(report("dkv", torch.float32, 64))
