"""Shared fixtures of the kernel tests: seeded tensors, and the paths that this machine has."""

import pytest
import torch

from attnlab.kernels.compiled import compiler


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make():
    """make(seed, shape, ...) -> float64 tensors of standard normals."""

    def tensors(seed, *shapes, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        made = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
        return made[0] if len(made) == 1 else made

    return tensors


@pytest.fixture(scope="session")
def needs_c():
    """Skip with a reason where no C compiler works."""
    report = compiler.compiler_report()
    if report["compiler"] is None:
        pytest.skip(f"no C compiler: {report['reason']}")
