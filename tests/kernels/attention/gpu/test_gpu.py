"""The Triton path without a GPU: interpreted values and compiled machine code, each in a process of its own.

Interpreting is decided before triton is imported, so the two cannot share a process, nor this one.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnlab.kernels.attention import attention

NEEDS_TRITON = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed (pip install 'attnlab[gpu]')"
)


def run(name, *options, **environment):
    file = Path(__file__).with_name(name)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, str(file)]
    if importlib.util.find_spec("xdist") is not None:
        command[4:4] = ["-n", "0"]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, cwd=file.parents[4], check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


@NEEDS_TRITON
def test_interpreted_kernels_are_right(request):
    """A twelfth of the checks, which one the commit's hash chooses; all of them are slow."""
    run("gpu_interpreted.py", "--fast-share", "12", "--commit", request.config.option.commit, TRITON_INTERPRET="1")


@pytest.mark.slow
@NEEDS_TRITON
def test_compiled_kernels_do_not_spill():
    run("gpu_compiled.py", TRITON_INTERPRET="0")


@NEEDS_TRITON
@pytest.mark.slow
def test_all_compiled_kernels_that_are_shipped_do_not_spill():
    run("gpu_compiled.py", "-m", "slow", TRITON_INTERPRET="0")


@NEEDS_TRITON
@pytest.mark.slow
def test_all_interpreted_kernels_are_right():
    run("gpu_interpreted.py", "-m", "slow or not slow", TRITON_INTERPRET="1")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_kernels_on_hardware_equal_the_reference():
    q, k, v = (torch.randn(3, 2, 40, 6, dtype=torch.float64, device="cuda") for _ in range(3))
    for score in ("softmax", "softpick", "sigmoid", "linear", "relu", "signed"):
        o = attention(q, k, v, score=score, mask="causal", path="gpu")
        expected = attention(q.cpu(), k.cpu(), v.cpu(), score=score, mask="causal", path="reference")
        assert (o.cpu() - expected).abs().max() < 4 * 54 * torch.finfo(torch.float64).eps * (1 + expected.abs().max())


def test_gpu_path_without_triton_or_device_is_a_clear_error():
    q = torch.zeros(2, 3, 4)
    if importlib.util.find_spec("triton") is None or os.environ.get("TRITON_INTERPRET") != "1":
        with pytest.raises(ValueError, match="needs triton and a CUDA device"):
            attention(q, q, q, path="gpu")
