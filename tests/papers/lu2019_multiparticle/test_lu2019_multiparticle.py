"""The paper module: coverage, and claims judged on planted runs whose truth is known."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from attnlab.papers.lab.registry import load
from attnlab.papers.lab.run.planted import PlantedLab
from attnlab.papers.lab.run.workbench import Runs
from attnlab.papers.lu2019_multiparticle import constants, orders, structure, trained
from attnlab.papers.lu2019_multiparticle import paper as common
from attnlab.simulators.particle_flow.identities import TIMED_SCHEMES
from attnlab.simulators.particle_flow.splitting_errors import SCHEMES, Setting
from attnlab.theory.particle_flow.splitting import SCHEMES as STAGES
from attnlab.theory.particle_flow.splitting import error_coefficient, error_constant

paper = load("lu2019_multiparticle")

SETTING = Setting(n_particles=4, dim=2, hidden=4, depths=(8, 16, 32, 64, 128), n_replicas=16)
STEPS = 1 / np.array(SETTING.depths)


def drawn(n=16, seed=0):
    """Weights and start of random systems."""
    rng, d, m = np.random.default_rng(seed), SETTING.dim, SETTING.hidden
    shapes = {
        "W_Q": (d, d),
        "W_K": (d, d),
        "W_V": (d, d),
        "W_O": (d, d),
        "W_1": (d, m),
        "b_1": (m,),
        "W_2": (m, d),
        "b_2": (d,),
    }
    runs = {name: rng.normal(size=(n, *shape)) / 1.5 for name, shape in shapes.items()}
    return runs | {
        "start": rng.normal(size=(n, SETTING.n_particles, d)),
        "depths": np.tile(SETTING.depths, (n, 1)),
        "steps": np.tile(STEPS, (n, 1)),
    }


def planted(local, overall, n=16, seed=1):
    """Errors that are powers of the step: ``local`` and ``overall`` by scheme, with a factor of its own for each replica."""
    rng, shape = np.random.default_rng(seed), (n, 1, SETTING.n_particles, SETTING.dim)
    runs = drawn(n)
    for which, powers in (("local", local), ("global", overall)):
        for scheme in SCHEMES:
            higher = 1 + 0.3 * rng.random((n, 1, 1, 1)) * STEPS[:, None, None]
            runs[f"{which} error of {scheme}"] = (
                rng.normal(size=shape) * (STEPS ** powers[scheme])[:, None, None] * higher
            )
    return runs


TRUE_LOCAL = {
    scheme: 3 if scheme in ("macaron exact", "macaron_swapped exact", "macaron midpoint", "parallel midpoint") else 2
    for scheme in SCHEMES
}
TRUE_GLOBAL = {scheme: order - 1 for scheme, order in TRUE_LOCAL.items()}


@pytest.mark.parametrize("name", ["exact_orders", "euler_orders", "midpoint_orders", "relu_orders"])
def test_errors_of_the_right_orders_satisfy_the_claim(name):
    assert paper.claims[name].function(SETTING, PlantedLab(planted(TRUE_LOCAL, TRUE_GLOBAL))).holds


@pytest.mark.parametrize(
    "name, scheme",
    [
        ("exact_orders", "macaron exact"),
        ("exact_orders", "transformer exact"),
        ("euler_orders", "macaron euler"),
        ("midpoint_orders", "parallel midpoint"),
        ("relu_orders", "macaron euler"),
    ],
)
def test_a_scheme_of_the_other_order_is_refuted(name, scheme):
    wrong = {**TRUE_GLOBAL, scheme: 3 - TRUE_GLOBAL[scheme]}
    assert paper.claims[name].function(SETTING, PlantedLab(planted(TRUE_LOCAL, wrong))).outcome == "REFUTED"


def test_the_reading_of_the_layer_as_second_order_is_refuted_and_would_hold_for_a_layer_that_were():
    claim = paper.claims["network_second_order"]
    assert claim.expected == "REFUTED"
    assert claim.function(SETTING, PlantedLab(planted(TRUE_LOCAL, TRUE_GLOBAL))).outcome == "REFUTED"
    second = planted({**TRUE_LOCAL, "macaron euler": 3}, {**TRUE_GLOBAL, "macaron euler": 2})
    assert claim.function(SETTING, PlantedLab(second)).holds


def with_terms(runs, vectors, which, power):
    """Runs whose errors of some schemes are the given vectors times a power of the step, plus a term one order higher."""
    rng = np.random.default_rng(7)
    for scheme, vector in vectors.items():
        higher = np.linalg.norm(vector, axis=(-2, -1))[:, None, None, None] * rng.normal(
            size=(len(vector), 1, *vector.shape[1:])
        )
        runs[f"{which} error of {scheme}"] = (vector[:, None] + 0.3 * higher * STEPS[:, None, None]) * STEPS[
            :, None, None
        ] ** power
    return runs


@pytest.mark.parametrize("name", ["lie_trotter_term", "euler_terms"])
def test_local_terms_are_told_from_their_rivals(name):
    runs = planted(TRUE_LOCAL, TRUE_GLOBAL)
    system = common.systems(runs, SETTING)
    used = [scheme for scheme in SCHEMES if any(common.terms(scheme).values())]
    right = {scheme: error_coefficient(system, runs["start"], common.terms(scheme)) for scheme in used}
    found = paper.claims[name].function(SETTING, PlantedLab(with_terms(runs, right, "local", 2)))
    assert found.holds, found
    wrong = {**right, "transformer exact": -right["transformer exact"], "macaron euler": right["macaron_swapped euler"]}
    assert paper.claims[name].function(SETTING, PlantedLab(with_terms(runs, wrong, "local", 2))).outcome == "REFUTED"


@pytest.mark.slow
def test_error_constants_are_told_from_local_errors_that_add_up():
    runs = planted(TRUE_LOCAL, TRUE_GLOBAL)
    system = common.systems(runs, SETTING)
    vectors = [
        {
            scheme: error_constant(system, runs["start"], 1.0, common.terms(scheme), transported=carried)
            for scheme in ("transformer exact", "transformer euler", "macaron euler")
        }
        for carried in (True, False)
    ]
    claim = paper.claims["error_constants"].function
    assert claim(SETTING, PlantedLab(with_terms(runs, vectors[0], "global", 1))).holds
    assert claim(SETTING, PlantedLab(with_terms(runs, vectors[1], "global", 1))).outcome == "REFUTED"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("factor, outcome", [(1.0, "HOLDS"), (1.01, "REFUTED"), (0.99, "REFUTED")])
def test_an_error_constant_is_seen_to_one_per_cent(factor, outcome):
    runs = planted(TRUE_LOCAL, TRUE_GLOBAL)
    system = common.systems(runs, SETTING)
    vectors = {
        scheme: factor * error_constant(system, runs["start"], 1.0, common.terms(scheme))
        for scheme in ("transformer exact", "transformer euler", "macaron euler")
    }
    found = paper.claims["error_constants"].function(SETTING, PlantedLab(with_terms(runs, vectors, "global", 1)))
    assert found.outcome == outcome, found


def test_statements_about_fields_without_normalisation_are_silent_about_others():
    setting = replace(SETTING, normalisation="inside")
    for name in ("lie_trotter_term", "euler_terms", "error_constants", "cost_of_merging", "merged_stack"):
        assert paper.claims[name].judge(setting, PlantedLab()).outcome == "VACUOUS"


def test_two_thirds_is_a_number_of_the_declared_systems_only():
    claim = paper.claims["two_thirds"]
    for change in ({"activation": "gelu"}, {"horizon": 2.0}, {"n_particles": 16, "dim": 16}):
        assert claim.judge(replace(claim.setting.desk, **change), PlantedLab()).outcome == "VACUOUS"


def test_the_plane_shows_the_first_two_coordinates_of_more():
    from attnlab.simulators.particle_flow.splitting_errors import splitting_errors

    seeds = [np.random.SeedSequence(4, spawn_key=(r,)) for r in range(2)]
    setting = Setting(
        dim=6, n_heads=3, depths=(6, 12), schemes=("transformer euler", "macaron euler"), reference_steps=64
    )
    lab = PlantedLab(lambda each: splitting_errors(each, seeds, "cpu"))
    marks = paper.figures["fig5"].function(setting, lab)
    assert len(marks.panels) == 2


def with_ratio(shift, n=96):
    """Systems whose Macaron error is ``exp(shift)`` times the predicted one; half of the rest of the setting is drawn."""
    runs = planted(TRUE_LOCAL, TRUE_GLOBAL, n=n)
    ratio = constants.predicted_ratio(runs, SETTING)
    for scheme, size in (("transformer euler", np.ones(n)), ("macaron euler", ratio * np.exp(shift))):
        error = np.zeros_like(runs[f"global error of {scheme}"])
        error[..., 0, 0] = size[:, None] * STEPS
        runs[f"global error of {scheme}"] = error
    return runs, ratio


@pytest.mark.slow
def test_ratios_of_errors_are_predicted_one_by_one():
    noise = 1e-4 * np.random.default_rng(2).normal(size=96)
    found = paper.claims["smaller_constant"].function(SETTING, PlantedLab(with_ratio(noise)[0]))
    assert found.parts[0].holds, found.parts[0]
    wrong = paper.claims["smaller_constant"].function(SETTING, PlantedLab(with_ratio(noise + 0.02)[0]))
    assert wrong.parts[0].outcome == "REFUTED"


def test_depth_dependent_weights_are_first_order_as_printed_only():
    rng = np.random.default_rng(3)

    def runs(powers):
        errors = np.stack([np.exp(0.3 * rng.normal(size=(16, 1))) * STEPS**power for power in powers], axis=1)
        return {
            "steps": np.tile(STEPS, (16, 1)),
            "global_error": errors * np.exp(0.003 * rng.normal(size=errors.shape)),
        }

    claim = paper.claims["depth_dependent_weights"].function
    assert TIMED_SCHEMES[0] == "printed" and claim(SETTING, PlantedLab(runs([1, 2, 2, 2]))).holds
    assert claim(SETTING, PlantedLab(runs([2, 2, 2, 2]))).outcome == "REFUTED"
    assert claim(SETTING, PlantedLab(runs([1, 1, 2, 2]))).outcome == "REFUTED"


def test_counts_of_torch_modules_are_the_predicted_ones():
    assert structure.torch_parameters("macaron", 512, 2048) == 3_153_920
    assert paper.claims["equal_parameter_counts"].function(SETTING, PlantedLab({})).holds


def students(ratio=1.0, way=0.3, error=0.04, deeper=1.3, exact=0.11, seed=0, n=24):
    """A function of a setting: trained Transformer and Macaron stacks with the given properties, scattered by a tenth."""
    rng = np.random.default_rng(seed)

    def scattered(centre):
        return centre * np.exp(0.1 * rng.normal(size=n))

    def one(setting):
        macaron = setting.kind == "macaron"
        own = 0.3 if setting.shared else way  # layers of shared weights follow the flow
        straight = np.array([0, 0.08, 0.13, 0.16, 0.15, 0.1, 0])
        end, teacher = scattered(error * (ratio if macaron else 1)), scattered(exact * (0.62 if macaron else 1))
        path = np.stack([scattered(own * 0.16 * k / 5) for k in range(6)] + [end], axis=1)
        return {
            "error": end,
            "path_error": path,
            "straight_error": np.tile(straight, (n, 1)) * scattered(1.0)[:, None],
            "depth_error": np.stack([end, end * deeper * np.exp(0.01 * rng.normal(size=n))], axis=1),
            "exact_weights_error": np.stack([teacher, teacher / 2 * np.exp(0.01 * rng.normal(size=n))], axis=1),
        }

    return one


def judged(name, **changes):
    claim = paper.claims[name]
    return claim.function(claim.setting.desk, PlantedLab(students(**changes)))


@pytest.mark.parametrize(
    "name, changes",
    [
        ("equal_parameters", {}),
        ("shared_layers_follow_the_flow", {}),
        ("own_layers_leave_the_flow", {"way": 1.1}),
        ("tuned_to_their_depth", {}),
    ],
)
def test_stacks_with_the_stated_properties_satisfy_the_claim(name, changes):
    found = judged(name, **changes)
    assert found.holds, found


@pytest.mark.parametrize(
    "name, changes",
    [
        ("equal_parameters", {"ratio": 0.4}),
        ("own_layers_leave_the_flow", {"way": 0.3}),
        ("tuned_to_their_depth", {"deeper": 0.7}),
        ("tuned_to_their_depth", {"exact": 0.02}),
    ],
)
def test_stacks_with_other_properties_do_not(name, changes):
    assert judged(name, **changes).outcome == "REFUTED"


@pytest.mark.parametrize(
    "name", ["equal_parameters", "shared_layers_follow_the_flow", "own_layers_leave_the_flow", "tuned_to_their_depth"]
)
def test_stacks_that_have_not_learnt_the_flow_decide_nothing(name):
    found = judged(name, error=0.2)
    assert found.outcome == "UNDECIDED" and found.wants == "training"


def test_the_straight_line_is_told_from_the_flow():
    runs = Runs("planted", students()(trained.SHARED))
    assert np.all(trained.way_off(runs) < 0.5) and np.all(trained.on_the_line(runs) > 0.5)


def test_layers_are_told_from_parallel_ones_and_from_attention_first():
    from attnlab.simulators.particle_flow.stacks import random_stacks

    setting = replace(structure.LAYERS.desk, depths=(2,), dim=4, hidden=6)
    seeds = [np.random.SeedSequence(4, spawn_key=(r,)) for r in range(2)]
    lab = PlantedLab(lambda each: random_stacks(each, seeds))
    assert paper.claims["layer_is_a_splitting_step"].function(setting, lab).holds


def test_the_named_schemes_of_both_sides_are_the_same():
    from attnlab.simulators.particle_flow.splitting_errors import SPLITTINGS

    for name, stages in SPLITTINGS.items():
        mine = [(part if "F" in field else 0, part if "G" in field else 0) for field, part in stages]
        assert mine == [(float(a), float(b)) for a, b in STAGES[name]]


@pytest.mark.slow
def test_a_figure_has_the_same_bytes_when_it_is_drawn_again(tmp_path):
    written = []
    for name in ("first", "second"):
        plate = paper.figures["fig4"].function(SETTING, PlantedLab({}))
        written.append({path.name: path.read_bytes() for path in plate.save(tmp_path / name, "fig4")})
    assert written[0] == written[1] and {name.rpartition(".")[2] for name in written[0]} == {"png", "pdf", "svg", "csv"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [("n_particles=5", "dim=6", "activation=gelu"), ("n_heads=2", "hidden=24", "horizon=0.5")]
)
def test_no_verdict_is_wrong_at_other_sizes_and_seeds(tmp_path, changes):
    targets = [
        f"lu2019.{name}"
        for name in (
            "exact_orders",
            "euler_orders",
            "midpoint_orders",
            "lie_trotter_term",
            "euler_terms",
            "error_constants",
            "merged_stack",
            "cost_of_merging",
            "depth_dependent_weights",
        )
    ]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "attnlab.papers.lab.commands.cli",
            "reproduce",
            *targets,
            *changes,
            "--seed",
            "11",
            "--json",
            "--out",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode in (0, 3), done.stderr  # 3: undecided is no wrong verdict
    assert all(claim["verdict"] in ("HOLDS", "UNDECIDED") for claim in json.loads(done.stdout)["claims"])


def test_figures_of_orders_take_the_settings_of_their_claims():
    assert paper.figures["fig2"].setting is orders.RELU and paper.figures["fig3"].setting is constants.WIDE_SCALES


@pytest.mark.slow
def test_halved_attention_is_ahead_or_behind_as_planted():
    runs = planted(TRUE_LOCAL, TRUE_GLOBAL, n=96)
    claim = paper.claims["halved_attention"].function
    shape = runs["global error of macaron euler"].shape
    noise = np.exp(0.2 * np.random.default_rng(5).normal(size=(96, 1, 1, 1)))
    predicted = constants.predicted_ratio(runs, SETTING, "macaron_swapped euler", "macaron euler")[:, None, None, None]
    for ratio, outcome in ((0.7, "HOLDS"), (1.4, "REFUTED")):
        for scheme, size in (("macaron euler", 1.0), ("macaron_swapped euler", ratio * noise)):
            runs[f"global error of {scheme}"] = size * np.ones(shape) * STEPS[:, None, None]
        assert claim(SETTING, PlantedLab(runs)).parts[1].outcome == outcome
    for factor, outcome in ((1.0, "HOLDS"), (1.02, "REFUTED")):
        runs["global error of macaron_swapped euler"] = factor * predicted * np.ones(shape) * STEPS[:, None, None]
        assert claim(SETTING, PlantedLab(runs)).parts[0].outcome == outcome
