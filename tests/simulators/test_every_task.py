"""Every task of the simulators keeps the protocol of ``simulators/tasks/task.py``: the same names, the same arguments."""

import importlib
import inspect
from pathlib import Path

import pytest

from attnlab.simulators.tasks.task import Task

ROOT = Path(__file__).resolve().parents[2]
METHODS = ("fill", "loss", "largest_array")


def tasks():
    """The classes of simulators/ that say how many random numbers they use in one step, found by looking at every module."""
    for path in sorted((ROOT / "simulators").rglob("*.py")):
        if "numbers_per_step" not in path.read_text(encoding="utf-8") or path.name == "task.py":
            continue
        module = importlib.import_module("attnlab." + ".".join(path.relative_to(ROOT).with_suffix("").parts))
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__ and "fill" in dir(kind):
                yield kind


def faults(kind):
    """What a class lacks to be a task."""
    for name in METHODS:
        wanted = list(inspect.signature(getattr(Task, name)).parameters)
        found = list(inspect.signature(getattr(kind, name)).parameters) if hasattr(kind, name) else None
        if found != wanted:
            yield f"{name}: {found} instead of {wanted}"
    if not hasattr(kind, "numbers_per_step"):
        yield "numbers_per_step is not there before a task is made"
    if hasattr(kind, "part") and list(inspect.signature(kind.part).parameters) != ["self", "rows"]:
        yield "part takes something else than rows"


@pytest.mark.parametrize(
    "kind", tasks(), ids=lambda kind: f"{kind.__module__.removeprefix('attnlab.')}.{kind.__name__}"
)
def test_a_task_keeps_the_protocol(kind):
    assert not list(faults(kind))


def test_there_are_tasks_and_a_class_with_other_arguments_is_none():
    class Twin:
        numbers_per_step = 0

        def fill(self, stream, numbers): ...

        def loss(self, model, parameters, numbers): ...

    assert len(list(tasks())) >= 10
    assert len(list(faults(Twin))) == 2
