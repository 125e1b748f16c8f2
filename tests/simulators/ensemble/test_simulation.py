"""The simulation decorator: restricted views, checked results, and the script entry."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import main_of, simulation, table
from attnlab.simulators.in_context_regression import training as in_context_regression

SUBJECT = """
from dataclasses import dataclass

import numpy as np

from attnlab.simulators.ensemble.setting import checked, require_positive
from attnlab.simulators.ensemble.simulation import simulation


@dataclass(frozen=True)
class Toy:
    size: int = 2
    n_replicas: int = 3

    def __post_init__(self):
        checked(self)
        require_positive(self, "size", "n_replicas")


@simulation(name="toy_subject.measure", block=4)
def measure(setting: Toy, seeds, device):
    return {"x": np.stack([np.random.default_rng(seed).random(2 * setting.size) for seed in seeds])}
"""
SEEDS = [np.random.SeedSequence(0, spawn_key=(replica,)) for replica in range(3)]


@dataclass(frozen=True)
class Toy:
    size: int = 2
    unused: int = 1
    n_replicas: int = 3

    def __post_init__(self):
        checked(self)
        require_positive(self, "size", "n_replicas")

    @property
    def doubled(self):
        return 2 * self.size


@simulation(name="toy.measure", block=4, reads=("size",))
def measure(setting: Toy, seeds, device):
    """Numbers from each seed."""
    return {"x": np.stack([np.random.default_rng(seed).random(setting.doubled) for seed in seeds])}


def test_a_simulation_knows_its_name_block_and_fields():
    assert measure.name == "toy.measure"
    assert (measure.block, measure.reads, measure.setting_type) == (4, ("size",), Toy)
    assert measure.function.__name__ == "measure" and measure.module == measure.function.__module__
    assert measure.__doc__ == "Numbers from each seed."


def test_all_fields_but_the_number_of_replicas_are_read_by_default():
    @simulation(name="toy.everything")
    def everything(setting: Toy, seeds, device):
        return {"x": np.zeros(len(seeds))}

    assert everything.reads == ("size", "unused")


def test_calling_runs_the_function_on_the_declared_fields_and_properties():
    assert measure(Toy(size=3), SEEDS, "cpu")["x"].shape == (3, 6)


@pytest.mark.parametrize("field", ["unused", "n_replicas"])
def test_reading_an_undeclared_field_is_an_error_that_says_to_declare_it(field):
    @simulation(name="toy.sneaky", reads=("size",))
    def sneaky(setting: Toy, seeds, device):
        return {"x": np.full(len(seeds), getattr(setting, field))}

    with pytest.raises(AttributeError, match=rf"reads '{field}' without declaring it; add it to @simulation\(reads"):
        sneaky(Toy(), SEEDS, "cpu")


@pytest.mark.parametrize(
    "result",
    [{}, None, {"x": np.zeros(2)}, {"x": np.float64(1)}, {"x": [1, 2, 3]}, {"x": np.array([None, None, None])}],
)
def test_results_without_a_replica_axis_are_refused(result):
    @simulation(name="toy.bad")
    def bad(setting: Toy, seeds, device):
        return result

    with pytest.raises(ValueError, match="bad returned"):
        bad(Toy(), SEEDS, "cpu")


def test_misuse_is_refused_at_the_boundary():
    with pytest.raises(TypeError, match="takes a"):
        measure(in_context_regression.Setting(), SEEDS, "cpu")
    with pytest.raises(ValueError, match="seeds is empty"):
        measure(Toy(), [], "cpu")
    with pytest.raises(ValueError, match="reads='sise' is not a field of Toy; did you mean 'size'"):
        simulation(name="toy.sise", reads=("sise",))(measure.function)
    with pytest.raises(ValueError, match="block=0"):
        simulation(name="toy.none", block=0)
    with pytest.raises(ValueError, match="not of the form subject"):
        simulation(name="measure")


@pytest.fixture
def subject(tmp_path, monkeypatch):
    """A package with one module and one simulation, as a subject's folder is."""
    package = tmp_path / "toy_subject"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "measuring.py").write_text(SUBJECT)
    monkeypatch.syspath_prepend(tmp_path)
    yield "toy_subject"
    for name in [name for name in sys.modules if name.startswith("toy_subject")]:
        del sys.modules[name]


def test_script_prints_a_table_of_the_overridden_setting(subject, capsys):
    assert main_of(subject, ["size=4", "seed=3", "n_replicas=5"]) == 0
    printed = capsys.readouterr().out
    assert "size=4" in printed and "x[7]" in printed and "5 replicas, seed 3" in printed


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("sise=4", "did you mean 'size'"),
        ("size=nan", "size='nan' is not a whole number"),
        ("size=0", "not positive"),
        ("seed=-1", "seed='-1'"),
        ("mesure", "did you mean 'measure'"),
    ],
)
def test_script_answers_a_bad_argument_with_status_two_and_one_line(subject, capsys, argument, message):
    assert main_of(subject, [argument]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_table_shows_arrays_along_steps_at_their_last_record():
    arrays = {
        "steps": np.tile([0, 5], (3, 1)),
        "loss": np.array([[9.0, 1.0], [9.0, 2.0], [9.0, 3.0]]),
        "curve": np.ones((3, 9)),
        "big": np.zeros((3, 41)),
        "loss_se": np.ones(3),
    }
    lines = table(arrays).splitlines()
    assert lines[2].split() == ["loss", "2", "1", "1", "3"]  # mean, sd, min, max of 1, 2, 3
    assert lines[3].split() == ["curve", "means", *["1"] * 9] and lines[4:] == ["also big (3, 41)"]


def test_a_simulation_without_the_class_of_its_settings_is_asked_for_it():
    def bare(setting, seeds, device):
        return {}

    def wrong(setting: int, seeds, device):
        return {}

    for function in (bare, wrong):
        with pytest.raises(
            ValueError, match=r"toy.bare: annotate the first parameter of \w+ with the dataclass of its settings"
        ):
            simulation(name="toy.bare")(function)
