"""Instruments that act on a model, on hand-written models whose circuit is known."""

import numpy as np
import pytest

from attnlab.analysis.instruments.circuits import (
    attribution,
    flow_graph,
    head_codes,
    head_pruning,
    operator_matrix,
    variant_grid,
    window_ablation,
)
from attnlab.analysis.instruments.maps import pattern_injection
from attnlab.simulators.planted.arithmetic import N_LAYERS, every_prompt
from attnlab.simulators.planted.induction import induction
from attnlab.simulators.planted.planted import logit_difference, planted_model
from attnlab.simulators.planted.residual_stack import Layer, ResidualStack


def template(program):
    made, prompts = planted_model(f"arithmetic_{program}"), every_prompt()
    return window_ablation.Template(made.model.run, prompts.tokens, prompts.answers, N_LAYERS, 1 / 7)


def test_late_arithmetic_waits_until_its_first_layer_of_context():
    made = window_ablation.measure(template("late"))["accuracy"]
    assert made.value[:3].tolist() == [1, 1, 1]
    assert (made.value[3:] < 0.3).all() and (made.high[3:] > 1 / 7).all()


def test_late_arithmetic_needs_its_two_layers_and_any_layers_besides():
    found = window_ablation.windows(template("late"))
    assert len(found) == len(set(found)) == 5 + 4 + 3
    assert all({2, 3} <= set(window) and wait <= 2 for wait, window in found)
    assert (2, (2, 3)) in found


def test_early_arithmetic_has_no_window():
    assert window_ablation.measure(template("early"))["accuracy"].value[1:].max() < 0.3
    assert window_ablation.windows(template("early")) == []


def test_states_without_context_are_means_over_the_same_token_at_the_same_place():
    rng = np.random.default_rng(0)
    tokens, states = rng.integers(3, size=(30, 4)), rng.standard_normal((30, 4, 5))
    made = window_ablation.by_token(states, tokens)
    for row, place in ((0, 0), (7, 2), (29, 3)):
        same = tokens[:, place] == tokens[row, place]
        assert np.allclose(made[row, place], states[same, place].mean(0), rtol=0, atol=1e-14)


def test_two_programs_give_the_same_answers():
    prompts = every_prompt()
    for program in ("late", "early"):
        logits = planted_model(f"arithmetic_{program}").model.run(prompts.tokens, sites=("logits",))["logits"]
        assert (logits[:, -1].argmax(-1) == prompts.answers).all()


@pytest.fixture(scope="module")
def induction_segments():
    made = induction(n_symbols=6, n_tokens=13)
    rng = np.random.default_rng(1)
    prompts = made.draw(rng, 6)
    metric = logit_difference(prompts.answers)
    return attribution.segments(
        made.model.run, prompts.tokens, made.corrupt(rng, prompts), metric, [(0, 0), (0, 1), (1, 0), (1, 1)]
    )


def test_the_path_is_complete_and_the_linear_effect_misses_a_head_behind_a_saturated_softmax(induction_segments):
    made = attribution.measure(attribution.Segments(induction_segments.value, induction_segments.slope, 4, steps=40))
    assert made["path"].value == pytest.approx(made["exact"].value, rel=1e-2, abs=1e-6)
    assert made["exact"].value[0] < -5 and abs(made["linear"].value[0]) < 0.02 * abs(made["exact"].value[0])
    assert attribution.saturated(made).tolist() == [True, False, False, False]
    assert abs(made["exact"].value[[1, 3]]).max() < 1e-9, "inert heads do nothing"
    assert made["linear"].value[2] == pytest.approx(made["exact"].value[2], rel=1e-6), "the last head acts linearly"


def test_a_path_of_too_few_steps_is_refused(induction_segments):
    with pytest.raises(ValueError, match="sender 0 misses its effect"):
        attribution.measure(attribution.Segments(induction_segments.value, induction_segments.slope, 4, steps=1))


def linear(inputs, sites=(), replace=None):
    return head_pruning._linear(inputs, sites, replace)


def test_ablation_of_heads_that_do_one_work_and_of_heads_that_add():
    z = 0.1 + np.abs(np.random.default_rng(2).standard_normal((6, 3)))
    heads = [(0, 0), (0, 1), (0, 2)]
    adds = head_pruning.measure(head_pruning.Pruning(linear, z, head_pruning._first, heads, pairs=True))
    assert np.allclose(adds["drop"].values, z, rtol=1e-14), "with a linear read-out the drop is what the head writes"
    assert np.allclose(adds["pair"].values, z[:, [0, 0, 1]] + z[:, [1, 2, 2]], rtol=1e-14)
    assert np.abs(adds["backup"].value).max() < 1e-14
    twice = np.repeat(z[:, :1], 2, axis=1)
    one_work = head_pruning.measure(
        head_pruning.Pruning(head_pruning._either, twice, head_pruning._first, heads[:2], pairs=True)
    )
    assert one_work["drop"].value.tolist() == [0, 0]
    assert np.allclose(one_work["backup"].values[:, 0], z[:, 0], rtol=1e-14)


def test_ablation_to_the_mean_keeps_what_is_the_same_in_every_prompt():
    z = np.full((5, 2), 3.0)
    z[:, 1] += np.arange(5)
    made = head_pruning.measure(head_pruning.Pruning(linear, z, head_pruning._first, [(0, 0), (0, 1)], by="mean"))
    assert np.allclose(made["drop"].values, z - z.mean(0), rtol=0, atol=1e-14)


def test_an_inert_head_of_the_planted_model_is_worth_nothing():
    made = induction(n_symbols=6, n_tokens=13)
    prompts = made.draw(np.random.default_rng(3), 5)
    heads = [(0, 0), (0, 1), (1, 0), (1, 1)]
    run = head_pruning.Pruning(made.model.run, prompts.tokens, logit_difference(prompts.answers), heads)
    drop = head_pruning.measure(run)["drop"].value
    assert np.abs(drop[[1, 3]]).max() < 1e-12 and (drop[[0, 2]] > 5).all()


def test_a_pattern_helps_where_values_can_carry_it():
    made = induction(n_symbols=6, n_tokens=13)
    blind = made.model.layers[0]
    layer = Layer(np.zeros_like(blind.w_q), blind.w_k, blind.w_v, blind.w_o)  # no head finds the previous token
    model = ResidualStack(made.model.embed, (layer, made.model.layers[1]), made.model.unembed)
    prompts = made.draw(np.random.default_rng(4), 8)
    n = prompts.tokens.shape[1]
    previous = np.eye(n, k=-1, dtype=bool)[None]
    metric = logit_difference(prompts.answers)
    subject = pattern_injection.Injection(model.run, prompts.tokens, metric, [(0, 0), (0, 1)], previous)
    read = pattern_injection.measure(subject)
    whole = metric(made.model.run(prompts.tokens, sites=("logits",))["logits"]).mean()
    without = metric(model.run(prompts.tokens, sites=("logits",))["logits"]).mean()
    assert read["change"].value[0] == pytest.approx(whole - without, rel=1e-3), "one layer more's worth comes back"
    assert read["gain"].value[0] > 2 and abs(read["gain"].value[1]) < 1e-12, "the other head writes where nothing reads"


def test_injected_rows_are_cut_and_renormalised():
    a = np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    pattern = np.array([[False, False, False], [True, False, False], [True, True, False]])
    assert np.allclose(pattern_injection.inject(a, pattern), [[1, 0, 0], [1, 0, 0], [0.4, 0.6, 0]])
    held = pattern_injection.inject(np.array([[0.0, 0.0, 1.0]]), np.array([[True, True, False]]))
    assert np.allclose(held, [[0.5, 0.5, 0]])
    rng = np.random.default_rng(5)
    wanted = np.tri(6, dtype=bool) & (rng.random((4, 6, 6)) < 0.4)
    other = pattern_injection.equally_dense(rng, wanted)
    assert (other.sum(-1) == wanted.sum(-1)).all() and not (other & ~np.tri(6, dtype=bool)).any()


def test_components_that_do_not_add_up_are_refused_and_the_circuit_head_names_the_answer():
    made = induction(n_symbols=6, n_tokens=13)
    prompts = made.draw(np.random.default_rng(6), 8)
    sites = ("embed", "L0.heads", "L1.heads", "logits")
    found = made.model.run(prompts.tokens, sites=sites)
    parts = [
        found["embed"][:, -1],
        *(found[f"L{k}.heads"][:, h, -1] for k in (0, 1) for h in range(found[f"L{k}.heads"].shape[1])),
    ]
    n_first = found["L0.heads"].shape[1]
    flow = flow_graph.Flow(np.stack(parts), made.model.unembed, prompts.answers, logits=found["logits"][:, -1])
    read = flow_graph.measure(flow)
    circuit = 1 + n_first
    assert read["margin"].value.argmax() == circuit and read["entropy"].value[circuit] < 1
    assert read["entropy"].value[circuit + 1] == pytest.approx(np.log2(7)), "the inert twin projects evenly"
    assert all(flow_graph.top_words(flow, k, 1)[circuit] == [answer] for k, answer in enumerate(prompts.answers))
    with pytest.raises(ValueError, match="a part is missing"):
        flow_graph.Flow(
            np.delete(np.stack(parts), circuit, 0), made.model.unembed, prompts.answers, logits=found["logits"][:, -1]
        )


def test_where_costs_cross_and_how_well_it_is_known():
    n = np.array([256, 512, 1024, 2048, 4096, 8192], dtype=float)
    full, other = 1e-6 * n**2 + 1e-4 * n + 0.1, 2.0e-3 * n + 0.4
    u = np.roots([1e-6, 1e-4 - 2.0e-3, 0.1 - 0.4]).max()
    assert operator_matrix.crossing(n, full, other)[0] == pytest.approx(u, rel=1e-9)
    rng = np.random.default_rng(7)
    for weighted in (True, False):
        made = [
            operator_matrix.crossing(
                n, *(y * (1 + 0.02 * rng.standard_normal(6)) for y in (full, other)), weighted=weighted
            )
            for _ in range(300)
        ]
        at, error = np.array(made).T
        if weighted:
            assert np.sqrt((error**2).mean()) == pytest.approx(
                at.std(), rel=0.25
            )  # 300 draws, errors of 3 degrees of freedom
            spread = at.std()
        else:
            assert at.std() > 1.5 * spread, "without weights the long lengths decide alone"
    with pytest.raises(ValueError, match="do not cross"):
        operator_matrix.crossing(n, 1e-6 * n**2 + 5.0 * n, n)


def test_a_cache_that_gives_something_else_is_seen_and_the_index_counts_both_ways():
    x = np.random.default_rng(8).standard_normal((2, 6, 3))
    causal = operator_matrix._attend
    steps = {"a": lambda y: np.stack([causal(y[: t + 1])[-1] for t in range(len(y))]), "b": lambda y: causal(y) + 1e-6}
    made = operator_matrix.measure(operator_matrix.Operators({"a": causal, "b": causal}, x, steps))
    assert made["leak"].p.tolist() == [1, 1] and made["cache"].p.tolist() == [1, 0]
    scores = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    assert operator_matrix.compositional_index(scores, np.array([False, True])).argmax() == 2


def test_losses_interactions_and_ranks_of_a_grid():
    accuracy = np.array([[[1.0, 1.0], [0.9, 0.9]], [[0.5, 0.7], [0.9, 0.9]]])  # (variant, task, replica)
    made = variant_grid.measure(variant_grid.Grid(accuracy))
    assert np.allclose(made["loss"].value, [[0.4, 0.0]]) and np.allclose(made["interaction"].value, [[0.2, -0.2]])
    assert made["rank"].value.tolist() == [1.25, 1.75]


def test_codes_of_planted_heads_are_found_later_than_by_the_difference_of_means():
    def area(x):
        return ((x[:4, None] > x[None, 4:]) + 0.5 * (x[:4, None] == x[None, 4:])).mean()

    found = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        z = rng.standard_normal((20, 24, 16)) + 3 * rng.standard_normal((1, 24, 16))
        positive = np.arange(20) < 10
        direction = rng.standard_normal((4, 16))
        z[:10, :4] += 16 * direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        score = head_codes.measure(head_codes.Codes(head_codes.codes_of(z), positive))["score"]
        found.append(area(score.value))
        assert area(head_codes.mean_gap(z, positive)) == 1
    assert 0.65 < np.mean(found) < 0.99


@pytest.mark.parametrize(("n_codes", "want"), [(2, 0.0010), (4, 0.0563), (8, 0.263), (16, 0.524)])
def test_the_null_of_equally_frequent_codes_is_what_ten_negatives_miss(n_codes, want):
    codes = np.random.default_rng(10).permutation(np.arange(30 * n_codes) % n_codes)[:, None]
    positive = np.arange(len(codes)) >= 10
    made = head_codes.measure(head_codes.Codes(codes, positive))["score"]
    assert made.null_mean[0] == pytest.approx((1 - 1 / n_codes) ** 10, rel=1e-12) == pytest.approx(want, abs=5e-4)


def test_the_points_of_the_path_are_the_middles_of_its_steps():
    size = np.array([1.0, 3.0])
    made = attribution.measure(attribution.Segments(lambda s, t: size * t**2, lambda s, t: 2 * t * size, 1, steps=1))
    assert made["path"].values[:, 0].tolist() == [1.0, 3.0], "one middle is exact for a slope that is a line"


def test_the_margin_is_against_the_mean_of_the_other_words():
    parts = np.array([[[5.0, 1.0, 3.0], [2.0, 0.0, 7.0]]])
    made = flow_graph.measure(flow_graph.Flow(parts, np.eye(3), np.array([0, 2])))["margin"]
    assert made.values[:, 0].tolist() == [3.0, 6.0]
