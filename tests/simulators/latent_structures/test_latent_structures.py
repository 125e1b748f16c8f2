"""Lists, plans, channels and iterations where their outcome is known."""

from dataclasses import replace
from math import comb, factorial

import numpy as np
import pytest

from attnlab.simulators.latent_structures.assignment import (
    AssignmentSetting,
    RingSetting,
    assignments,
    belief_propagation,
    freezing,
    rings,
    sinkhorn,
    summed,
)
from attnlab.simulators.latent_structures.channel import ChannelSetting, channel, swaps
from attnlab.simulators.latent_structures.draws import DrawSetting, LongRowSetting, long_rows, parent_draws
from attnlab.simulators.latent_structures.enumeration import STRUCTURES, EnumerationSetting, enumerate_structures
from attnlab.simulators.latent_structures.iterations import (
    AntipodalSetting,
    RetrievalSetting,
    SlotSetting,
    antipodal,
    retrieval,
    slots,
)

SEEDS = np.random.SeedSequence(6).spawn(2)
COUNTS = {
    "one parent": 3**3,
    "null parent": 4**3,
    "independent edges": 2**9,
    "fixed number": comb(3, 2) ** 3,
    "permutation": factorial(3),
    "tree": 4**2,
    "two heads": 3**6,
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_lists_are_complete_and_without_scores_all_members_weigh_the_same(name):
    setting = EnumerationSetting(name, n_tokens=3, spread=1e-12, null_logit=0.0, prior_odds=1.0)
    runs = enumerate_structures(setting, SEEDS, "cpu")
    assert set(runs["n_structures"]) == {COUNTS[name]}
    sums = runs["marginals"].sum(2)
    expected = {"null parent": 3 / 4, "independent edges": 3 / 2, "fixed number": 2}.get(name, 1)
    assert sums == pytest.approx(np.full_like(sums, expected))
    if name in ("one parent", "two heads"):
        assert runs["mean"] == pytest.approx(runs["attention"], abs=1e-9)


def test_masked_keys_are_never_parents():
    runs = enumerate_structures(EnumerationSetting(weighted=True), SEEDS, "cpu")
    masked = np.isneginf(runs["log_prior"])
    assert masked.any() and not masked.all(2).any() and np.all(runs["marginals"][masked] == 0)


def test_plans_are_doubly_stochastic_and_rings_have_two_permutations():
    runs = assignments(AssignmentSetting(4, (0.5,), n_draws=10), SEEDS, "cpu")
    for name in ("exact", "sinkhorn", "bethe"):
        for axis in (2, 3):
            assert runs[name].sum(axis) == pytest.approx(np.ones((2, 1, 4)), abs=1e-10)
    assert sinkhorn(np.log(np.full((3, 3), 1 / 3)), 1e-13) == pytest.approx(np.full((3, 3), 1 / 3))
    assert belief_propagation(np.zeros((4, 4)), 1e-13) == pytest.approx(np.full((4, 4), 1 / 4))
    both, total = summed(np.zeros((2, 2)), np.array([[0, 1], [1, 0]]))
    assert both == pytest.approx(np.full((2, 2), 0.5)) and total == pytest.approx(np.log(2))
    odds = [x / (1 - x) for x in rings(RingSetting((2, 4), (0.5,)), SEEDS[:1], "cpu")["exact"][0, :, 0]]
    assert odds == pytest.approx([np.e, np.e**2])


def test_cold_beliefs_are_those_of_the_best_permutation():
    runs = freezing(AssignmentSetting(4, (0.05, 40.0)), SEEDS, "cpu")
    assert np.all(runs["left"][:, 1] == 0) and np.all(runs["left"][:, 0] > 0.1)
    best = [summed(200 * S, np.array([[0, 1, 2, 3]]))[1] / 200 for S in runs["scores"]]
    assert best == pytest.approx([np.trace(S) for S in runs["scores"]])


def test_far_keys_are_read_without_error_and_near_ones_by_chance():
    far = channel(ChannelSetting(separation=40.0, n_draws=500), SEEDS, "cpu")
    assert far["log_loss"] == pytest.approx(0, abs=1e-9) and far["error"] == pytest.approx(0, abs=1e-9)
    near = channel(ChannelSetting(separation=1e-6, n_draws=500), SEEDS, "cpu")
    assert near["log_loss"] == pytest.approx(np.log(2)) and near["entropy"] == pytest.approx(np.log(2))
    both = swaps(ChannelSetting(separation=1e-6, n_draws=500), SEEDS, "cpu")
    assert both["log_loss"] == pytest.approx(np.full((2, 3), np.log(2)), abs=1e-5)


def test_rotations_of_the_keys_do_not_matter_to_the_noise_they_are_seen_through():
    one, two = (channel(ChannelSetting(dim=d, n_draws=40_000), SEEDS, "cpu")["log_loss"].mean() for d in (2, 6))
    assert one == pytest.approx(two, abs=5 * 0.55 / np.sqrt(80_000) * np.sqrt(2))  # .55: the spread of one log loss


def test_flat_rows_are_drawn_evenly_and_long_rows_keep_their_number():
    runs = parent_draws(DrawSetting(n_keys=2, spread=1e-9, group=1, n_groups=20_000), SEEDS, "cpu")
    quarter = np.square(runs["values"][:, 0] - runs["values"][:, 1]).sum(1) / 4  # each draw is half the difference away
    assert runs["one"] == pytest.approx(quarter) and runs["mean"] == pytest.approx(quarter)
    rows = long_rows(LongRowSetting(40, 7), SEEDS, "cpu")["marginals"]
    assert rows.sum(1) == pytest.approx(7) and np.all(np.diff(rows, axis=1) >= 0)


def test_iterations_end_where_they_must():
    runs = retrieval(RetrievalSetting(n_keys=1), SEEDS, "cpu")  # one key: one step, and the energy is a parabola
    assert runs["descent"] == pytest.approx(np.full((2, 4), 0.5))
    runs = antipodal(AntipodalSetting(gains=(0.5, 3.0), critical_steps=1, start=0.5), SEEDS, "cpu")
    assert runs["overlap"][:, 0] == pytest.approx(0, abs=1e-6) and np.all(runs["overlap"][:, 1] > 0.99)
    assert runs["critical"] == pytest.approx(np.tanh(0.5))
    runs = slots(replace(SlotSetting(), low=-1.0, high=1.0), SEEDS, "cpu")
    assert runs["two"][:, 0] == pytest.approx(runs["two"][:, 1])  # equal norms: it does not matter whether they count
    assert np.all(runs["gain"][:, 0] >= 0.5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EnumerationSetting("ring"), "structures='ring' is unknown"),
        (lambda: EnumerationSetting("independent edges", n_tokens=5), "use at most 4"),
        (lambda: AssignmentSetting(9), "use at most 8"),
        (lambda: RingSetting((9,)), "use at most 8"),
        (lambda: ChannelSetting(bins=(0.5, 0.2)), "must increase"),
        (lambda: LongRowSetting(8, 8), "must lie between 0 and n_keys"),
    ],
)
def test_settings_that_cannot_be_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
