"""What torch does not promise to keep, and analysis/ uses, is there and does what it is used for."""

import subprocess
import sys

import pytest
import torch

from attnlab.analysis.exact.torch_internals import DispatchMode, schema, unwatched


class Watch(DispatchMode):
    """Notes the operations that it sees."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


class Loud(torch.Tensor):
    """A tensor that takes over every function."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return "taken over"


def test_a_mode_sees_an_operation_with_its_schema():
    x = torch.ones(2)
    with Watch() as watch:
        x.mul(2)
        x.add_(1)
    multiplied, added = map(schema, watch.seen)
    assert multiplied.name == "aten::mul" and not multiplied.is_mutable and added.is_mutable
    assert [argument.name for argument in multiplied.arguments] == ["self", "other"]
    assert multiplied.returns[0].alias_info is None and added.returns[0].alias_info is not None


def test_unwatched_hides_operations_from_modes_and_from_subclasses():
    loud = torch.ones(2).as_subclass(Loud)
    assert torch.add(loud, 1) == "taken over"
    with Watch() as watch:
        with unwatched():
            inside = torch.add(loud, 1)
        assert not watch.seen
        torch.add(torch.ones(2), 1)
        assert watch.seen  # seen again once it is left
    assert inside != "taken over" and inside.tolist() == [2.0, 2.0]


@pytest.mark.slow
def test_a_mode_does_not_load_the_compiler_of_torch():
    """Torch's own modes do, at their first operation: two seconds for every process that judges a claim for all inputs."""
    code = (
        "import sys, torch\n"
        "from attnlab.analysis.exact.torch_internals import DispatchMode\n"
        "class Watch(DispatchMode):\n"
        "    def __torch_dispatch__(self, func, types, args=(), kwargs=None):\n"
        "        return func(*args, **(kwargs or {}))\n"
        "with Watch(): torch.ones(2) + 1\n"
        "assert 'torch._dynamo' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
