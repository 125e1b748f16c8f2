"""The file of a new member of a family, which the family's test holds to its protocol: task, operator, instrument, cost model."""

from __future__ import annotations

from string import Template

TASK = Template('''"""$words: the law of the sequences, the numbers they are made of, and the loss; nothing about models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnlab.simulators.ensemble.layout import Parameters


@dataclass(frozen=True, eq=False)
class $cls:
    """``batch`` sequences of ``n_context`` tokens of width ``dim``. Write the law of a token and of its target."""

    dim: int
    n_context: int
    batch: int

    @property
    def numbers_per_step(self) -> int:
        return self.batch * self.n_context * self.dim

    def fill(self, numbers: Tensor, stream: torch.Generator) -> None:
        """Draw the standard normal numbers of one replica in place."""
        numbers.normal_(generator=stream)

    def sequences(self, numbers: Tensor) -> Tensor:
        """Tokens ``(replica, batch, n_context, dim)`` made of ``numbers (replica, numbers_per_step)``."""
        return numbers.view(-1, self.batch, self.n_context, self.dim)

    def loss(self, model: Any, parameters: Parameters, numbers: Tensor) -> Tensor:
        """Write the loss ``(replica,)``."""
        raise NotImplementedError("$file: write the loss of $cls")

    def largest_array(self, model: Any) -> int:
        return self.batch * self.n_context * self.dim
''')

TEST_OF_TASK = Template('''"""$words: the law of the sequences, by counting."""

import torch

from $module import $cls


def test_tokens_have_the_law_that_the_task_states():
    task = $cls(dim=3, n_context=5, batch=400)
    numbers = torch.empty(2, task.numbers_per_step, dtype=torch.float64)
    for row, stream in zip(numbers, (torch.Generator().manual_seed(k) for k in range(2)), strict=True):
        task.fill(row[None], stream)
    tokens = task.sequences(numbers)
    assert tokens.shape == (2, 400, 5, 3)
    n = tokens[0].numel()
    assert abs(tokens[0].mean()) < 5 / n**0.5 and abs(tokens[0].var() - 1) < 5 * (2 / n) ** 0.5  # write your law here
''')

OPERATOR = Template('''"""$words: say in one sentence what it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from attnlab.kernels.operators.operator import Facts, Operator, checked


@dataclass(frozen=True)
class $cls(Operator):
    r"""Write the formula :math:`y_i = \\sum_j M_{ij} v_j`, for which sizes it holds, and its source with the equation's number.

    ``facts`` below are those of softmax attention: the family's test runs them in both directions, so it says what is wrong.
    """

    kind: ClassVar[str] = "qkv"
    source: ClassVar[str] = "write the source"
    facts: ClassVar[Facts] = Facts(1.0, causal="mask", content="pair", equivariant=("permutation", "rotation"))

    def apply(self, inputs, parameters, *, causal=False, draw=None):
        checked(inputs, self)
        raise NotImplementedError("$file: write apply, the output (..., n_q, d_v)")
''')

INSTRUMENT = Template('''r"""$words: say in one sentence what it reads, of which shape, in which unit.

Formula: write it, with ``.. math::`` where it is long.

Null: write in which worlds nothing is to be found, what is read there, and how the p value comes about.

Limit: write how strong an effect is found with 80 %, as a formula of N prompts.

Twin: write the nearest rival, and by how much it is wrong.

Sheet: write the section, and the paper.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnlab.analysis.instruments.figure_of_heads import figure_of_heads
from attnlab.analysis.instruments.instrument import Instrument, Reading, Rival, reading_of
from attnlab.analysis.instruments.readings import Group, Readings
from attnlab.analysis.instruments.worlds import null_worlds, read_scores, scores

AXES = ("layer", "head")


def measure(readings: Readings) -> dict[str, Reading]:
    """``value`` (layer, head) with its interval over prompts, tested against 0."""
    found = readings.each_layer("pattern", _per_prompt)["value"]
    return {"value": reading_of(found, "", AXES, "prompts independent", null=0.0, tested=True)}


def figure(readings: Mapping[str, Reading]) -> object:
    """Every head's value with interval, null and limit."""
    return figure_of_heads(readings["value"], "value", "Say what is shown, by head")


def _per_prompt(a: np.ndarray, seen: np.ndarray, group: Group) -> dict[str, np.ndarray]:
    """From weights (b, head, query, key) and the visible keys: one value per prompt and head, (b, head)."""
    raise NotImplementedError("$file: write the value of a prompt and head")


_SHAPE = (8, 1, 80, 24)  # prompts, layers, heads, tokens of the worlds; every head is one draw


def _planted(rng: np.random.Generator, strength: float) -> Readings:
    """Write a world with an effect of this strength."""
    return read_scores(scores(rng, "column effects", _SHAPE))


INSTRUMENT = Instrument(
    measure=measure,
    main="value",
    needs=("pattern",),
    nulls=null_worlds(_SHAPE),
    planted=_planted,
    truth=lambda strength: strength,  # write the exact law
    strengths=(0.5, 1.0, 2.0),
    limit=1.0,  # write the law of the docstring
    rivals=(Rival("write the rival", "value", lambda rng: measure(_planted(rng, 1.0))["value"].value, 1.0),),
    figure=figure,
    sheet="write the sheet's section",
)
''')

COST = Template('''r"""$words: FLOPs and bytes of one design; one multiply-add is 2 FLOPs. Name the letters.

Reference: write the source with its section.
"""

from __future__ import annotations

from attnlab.theory.checks import check_positive


def $name(n: int, dim: int) -> int:
    r"""Say what is counted.

    .. math:: \\text{write the formula}
    """
    check_positive(n=n, dim=dim)
    raise NotImplementedError("$file: write $name")
''')

TEST_OF_COST = Template('''"""$words against a direct count."""

import pytest

from $module import $name


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (7, 3), (64, 16)])
def test_the_formula_is_a_direct_count(n, dim):
    count = sum(2 * dim for query in range(n) for key in range(n))  # write the loop that the design runs
    assert $name(n, dim) == count
''')


def task(name: str) -> dict[str, str]:
    """Path below the root of a checkout -> text."""
    names = _names(name, f"simulators/tasks/{name}.py") | {"cls": f"{_camel(name)}Task"}
    test = f"tests/simulators/tasks/test_{name}.py"
    return {names["file"]: TASK.substitute(names), test: TEST_OF_TASK.substitute(names)}


def operator(family: str, name: str, new_family: bool) -> dict[str, str]:
    """The same for ``family/name``; the family's own test runs over all members."""
    names = _names(name, f"kernels/operators/{family}/{name}.py") | {"cls": _camel(name)}
    made = {names["file"]: OPERATOR.substitute(names)}
    if new_family:
        words = family.replace("_", " ").capitalize()
        made[f"kernels/operators/{family}/__init__.py"] = f'"""{words}: one operator per file."""\n'
    return made


def instrument(room: str, name: str, new_room: bool) -> dict[str, str]:
    """The same for ``room/name``; the family's own test runs over all members."""
    names = _names(name, f"analysis/instruments/{room}/{name}.py")
    made = {names["file"]: INSTRUMENT.substitute(names)}
    if new_room:
        words = room.replace("_", " ").capitalize()
        made[f"analysis/instruments/{room}/__init__.py"] = f'"""{words}: one instrument per file."""\n'
    return made


def cost(name: str) -> dict[str, str]:
    """The same for a cost model."""
    names = _names(name, f"theory/costs/{name}.py")
    test = f"tests/theory/costs/test_{name}.py"
    return {names["file"]: COST.substitute(names), test: TEST_OF_COST.substitute(names)}


def _names(name: str, file: str) -> dict[str, str]:
    module = "attnlab." + file.removesuffix(".py").replace("/", ".")
    return {"name": name, "file": file, "module": module, "words": name.replace("_", " ").capitalize()}


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))
