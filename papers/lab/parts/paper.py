"""The files of a new paper: theory, simulator, claim with twin, figure and tests, in a checkout of attnlab or anywhere else.

In a checkout the parts go to their rooms; elsewhere they lie side by side in one folder. The texts are the same but for the
names of the modules that they import. Where the author must write, the file raises ``NotImplementedError`` with a sentence
that names the file and the function; everything else runs.
"""

from __future__ import annotations

from string import Template

THEORY = Template('''r"""What is predicted: name the letters, and say where it is proved."""

$checks


def first_prediction_exact(n_samples: int) -> float:
    r"""Say in one sentence what this is.

    .. math:: \\text{write the formula}

    Say for which sizes and assumptions it holds, why in at most five lines, and who proved it, with the number of the equation.
    """
    $check
    raise NotImplementedError("$theory_file: write first_prediction_exact, the predicted number")
''')

SIMULATOR = Template('''"""What actually happens: a small model on a controlled task. It must not know the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Setting:
    """Say what each field is, and which values are the paper's."""

    n_samples: int = 4_000
    n_replicas: int = 16

    def __post_init__(self) -> None:
        checked(self)
        require_positive(self, "n_samples", "n_replicas")


@simulation(name="$simulation", block=8)
def measure(setting: Setting, seeds: Sequence[np.random.SeedSequence], device: str) -> dict[str, np.ndarray]:
    """``mean (replica,)``: the mean of ``n_samples`` squared standard normal numbers; put your model in its place."""
    rows = [np.random.default_rng(seed).standard_normal(setting.n_samples) for seed in seeds]
    return {"mean": np.array([(row**2).mean() for row in rows])}
''')

_DECLARED = """paper = Paper(
    key="$key",
    title="$title",
    sources=[Source(authors="$authors", title="$title", year=$year)],
    statements={1: "Write the first statement that can be checked, in one sentence."},
)
DESK = Setting()
paper.scales(smoke=replace(DESK, n_replicas=8), desk=DESK, paper=replace(DESK, n_samples=40_000, n_replicas=64))
"""

_CLAIM = '''@paper.claim(
    "first",
    source="write the theorem or equation",
    statements=[1],
    formula="write the formula",
    judged="within 0.1 of the prediction: write where this margin comes from",
)
def first(setting: Setting, lab: Lab) -> Verdict:
    """Write in one sentence what is claimed.

    Twin: the nearest rival theory, which the same check must refute. Here a prediction that is a half too large.
    """
    runs = lab.simulate(measure, setting)
    predicted = first_prediction_exact(setting.n_samples)
    return agrees(runs["mean"], predicted, within=0.1, twin=Twin.of("half as much again", predicted=1.5 * predicted))
'''

_FIGURE = '''@paper.figure("fig1", caption="Write what is seen: prediction as a line, measurement as points with intervals")
def measured_by_size(setting: Setting, lab: Lab) -> figures.Plate:
    """The measurement against the number of samples."""
    sizes = [setting.n_samples // 4, setting.n_samples // 2, setting.n_samples]
    runs = lab.simulate(measure, *(replace(setting, n_samples=n) for n in sizes))
    plate = figures.Plate()
    figures.prediction(plate[0], sizes, [first_prediction_exact(n) for n in sizes], "predicted")
    figures.measurement(plate[0], sizes, np.stack([run["mean"] for run in runs], -1), "measured", series="predicted")
    plate[0].labels(x="number of samples n", y="mean")
    return plate
'''

PAPER = Template(
    '''"""$title: its sources, its numbered statements, and the settings at three scales."""

from __future__ import annotations

from dataclasses import replace

from attnlab.papers.lab.declare import Paper, Source
from $simulator_module import Setting

'''
    + _DECLARED
)

CLAIMS = Template(
    '''"""The claims: what is predicted, what is measured, and how the two are compared."""

from __future__ import annotations

from $paper_module import paper
from $simulator_module import Setting, measure
from $theory_module import first_prediction_exact
from attnlab.analysis import Twin, Verdict, agrees
from attnlab.papers.lab.run.workbench import Lab


'''
    + _CLAIM
)

FIGURES = Template(
    '''"""The figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from $paper_module import paper
from $simulator_module import Setting, measure
from $theory_module import first_prediction_exact
from attnlab.analysis import figures
from attnlab.papers.lab.run.workbench import Lab


'''
    + _FIGURE
)

WHOLE = Template(
    '''"""$title: its statements, its settings, a claim and a figure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, figures
from attnlab.papers.lab import Paper, Source, main
from attnlab.papers.lab.run.workbench import Lab
from $simulator_module import Setting, measure
from $theory_module import first_prediction_exact

'''
    + _DECLARED
    + "\n\n"
    + _CLAIM
    + "\n\n"
    + _FIGURE
    + """

if __name__ == "__main__":  # python -m $key.paper --scale smoke
    raise SystemExit(main(paper))
"""
)

TEST_OF_THEORY = Template('''"""The prediction against what is known: a limit, an oracle, and a twin that fails."""

import numpy as np
import pytest

from $theory_module import first_prediction_exact


def test_the_prediction_is_what_is_measured_and_its_twin_is_not():
    rng, n, rows = np.random.default_rng(0), 100, 4_000
    oracle = (rng.standard_normal((rows, n)) ** 2).mean(1)  # write a brute-force sum, a higher precision or a second derivation
    error = 4 * oracle.std() / rows**0.5  # four standard errors
    assert first_prediction_exact(n) == pytest.approx(oracle.mean(), abs=error)
    assert abs(1.5 * first_prediction_exact(n) - oracle.mean()) > error
''')

TEST_OF_SIMULATOR = Template('''"""The simulator alone: shapes, and a case whose outcome is known."""

import numpy as np

from $simulator_module import Setting, measure


def test_each_seed_gives_one_number_whoever_runs_beside_it():
    seeds = [np.random.SeedSequence(1, spawn_key=(r,)) for r in range(3)]
    setting = Setting(n_samples=50)
    together, alone = measure(setting, seeds, "cpu")["mean"], measure(setting, seeds[1:2], "cpu")["mean"]
    assert together.shape == (3,) and together[1] == alone[0]
''')

TEST_OF_PAPER = Template('''"""The claim on planted runs whose truth is known."""

import numpy as np
import pytest

$load
from attnlab.papers.lab.run.planted import PlantedLab
from $theory_module import first_prediction_exact

$paper_line@pytest.mark.parametrize(("factor", "outcome"), [(1.0, "HOLDS"), (1.5, "REFUTED")])
def test_the_claim_knows_the_truth_from_its_twin(factor, outcome):
    claim = paper.claims["first"]
    setting = claim.setting.desk
    planted = factor * first_prediction_exact(setting.n_samples) + 0.01 * np.random.default_rng(0).normal(size=16)
    assert claim.function(setting, PlantedLab(lambda _: {"mean": planted})).outcome == outcome
''')


def in_a_checkout(key: str, subject: str, words: dict[str, str], known_subject: bool) -> dict[str, str]:
    """Path below the root of a checkout -> text."""
    names = words | {
        "key": key,
        "theory_file": f"theory/{subject}/first_prediction.py",
        "theory_module": f"attnlab.theory.{subject}.first_prediction",
        "simulator_module": f"attnlab.simulators.{subject}.first_measurement",
        "paper_module": f"attnlab.papers.{key}.paper",
        "simulation": f"{subject}.first_measurement",
        "checks": "from attnlab.theory.checks import check_count",
        "check": "check_count(n_samples=n_samples)",
        "load": "from attnlab.papers.lab.registry import load",
        "paper_line": f'paper = load("{key}")\n\n\n',
    }
    room = f'"""{subject.replace("_", " ").capitalize()}: '
    files = {
        f"theory/{subject}/first_prediction.py": THEORY,
        f"simulators/{subject}/first_measurement.py": SIMULATOR,
        f"papers/{key}/paper.py": PAPER,
        f"papers/{key}/claims.py": CLAIMS,
        f"papers/{key}/figures.py": FIGURES,
        f"tests/theory/{subject}/test_first_prediction.py": TEST_OF_THEORY,
        f"tests/simulators/{subject}/test_first_measurement.py": TEST_OF_SIMULATOR,
        f"tests/papers/{key}/test_{key}.py": TEST_OF_PAPER,
    }
    made = {path: _in_order(template.substitute(names)) for path, template in files.items()}
    made[f"papers/{key}/__init__.py"] = (
        f'"""{words["title"]}. Name here the letters of the paper, and its conventions."""\n'
    )
    made[f"papers/{key}/__main__.py"] = (
        f'"""``python -m attnlab.papers.{key} --scale smoke``."""\n\nfrom attnlab.papers.lab.commands.cli import main_of\n\n'
        'if __name__ == "__main__":\n    raise SystemExit(main_of(__package__))\n'
    )
    if not known_subject:
        made[f"theory/{subject}/__init__.py"] = f'{room}what the mathematics says."""\n'
        made[f"simulators/{subject}/__init__.py"] = f'{room}what happens in simulations."""\n'
        made[f"simulators/{subject}/__main__.py"] = (
            f'"""``python -m attnlab.simulators.{subject} [SIMULATION] [KEY=VALUE ...]``."""\n\n'
            "from attnlab.simulators.ensemble.simulation import main_of\n\n"
            'if __name__ == "__main__":\n    raise SystemExit(main_of(__package__))\n'
        )
    return made


def _in_order(text: str) -> str:
    """The text with its imports of attnlab sorted, whatever the names of the new modules are."""
    lines = text.split("\n")
    own = [k for k, line in enumerate(lines) if line.startswith("from attnlab.")]
    for k, line in zip(own, sorted(lines[k] for k in own), strict=True):
        lines[k] = line
    return "\n".join(lines)


def elsewhere(key: str, words: dict[str, str]) -> dict[str, str]:
    """Path below the current folder -> text: a folder of its own with a test beside it."""
    names = words | {
        "key": key,
        "theory_file": f"{key}/theory.py",
        "theory_module": f"{key}.theory",
        "simulator_module": f"{key}.simulator",
        "simulation": f"{key}.measure",
        "checks": "import math",
        "check": "if not (math.isfinite(n_samples) and n_samples >= 1):\n"
        '        raise ValueError(f"n_samples={n_samples!r} must be a number of at least 1")',
        "load": f"from {key}.paper import paper",
        "paper_line": "\n",
    }
    files = {
        f"{key}/theory.py": THEORY,
        f"{key}/simulator.py": SIMULATOR,
        f"{key}/paper.py": WHOLE,
        f"tests/test_{key}_theory.py": TEST_OF_THEORY,
        f"tests/test_{key}.py": TEST_OF_PAPER,
    }
    made = {path: template.substitute(names) for path, template in files.items()}
    made[f"{key}/__init__.py"] = f'"""{words["title"]}."""\n'
    made["conftest.py"] = f'"""Lets the tests import {key} from this folder."""\n'
    return made
