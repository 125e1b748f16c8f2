"""Claims on averages, filters, neighbours and extractors: what they remember, how far they see, what they copy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, replicas
from attnlab.papers.gates_and_memory.paper import AVERAGES, COPIES, EXTRACTS, FADINGS, FILTERS, NEIGHBOURS, paper
from attnlab.papers.lab.conditions import at_least, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.gates_and_memory.mixers import (
    AverageSetting,
    CopySetting,
    ExtractSetting,
    FadingSetting,
    FilterSetting,
    NeighbourSetting,
    averages,
    copies,
    extracted,
    fadings,
    filters,
    neighbours,
)
from attnlab.theory.gates_and_memory import extractor, local_filtering, mega, previous_token_mean

#: Gates (p, delta) beside the setting's; a correlation beside it.
GATES, INDEPENDENT = ((0.3, 0.2), (0.9, 0.1)), 0.0


@paper.claim(
    "averages_are_convolutions",
    source="equation 8 of Ma et al.",
    statements=[6],
    setting=AVERAGES,
    parts=2,
    kind="construction",
    formula="y = k * x + omega x, k_l = h^-1/2 sum_h gamma p beta (1 - p delta)^l",
    judged="the operator's average and the recurrence, equal within 1000 roundings of the largest output",
)
def averages_are_convolutions(setting: AverageSetting, lab: Lab) -> Verdict:
    """Mega's average is a convolution whose taps are sums of powers of q = 1 - p delta.

    Twin: undamped, q = 1 - p.
    """
    runs, n = lab.simulate(averages, setting), setting.n_tokens
    laws: dict[str, list] = {"damped": [], "undamped": []}
    for i, (x, omega) in enumerate(zip(runs["line"], runs["skip"], strict=True)):
        p, delta, *sizes = (runs[name][i] for name in ("input_gate", "damping", "expand", "contract"))
        for name, damping in (("damped", delta), ("undamped", np.ones_like(delta))):
            laws[name].append(np.convolve(x, mega.kernel(p, damping, *sizes, n))[:n] + omega * x)
    law, rival = (np.array(values) for values in laws.values())
    return all_of(
        *(
            identical(runs[name], law, rounding=1000, twin=Twin.of("undamped", b=rival)).named(name)
            for name in ("operator", "recurrence")
        )
    )


@paper.claim(
    "far_chunks_fade",
    source="section 3.5 of Ma et al. (chunks); the rate is derived",
    statements=[7],
    setting=FADINGS,
    parts=6,
    kind="extrapolation",
    reads=("input_gate", "damping"),
    formula="Jacobian by a token over that by the next one = q = 1 - p delta beyond the chunk; half-life ln 2/(-ln q)",
    judged="the operator's Jacobian, every token before the last chunk; a ratio is equal within 10^6 roundings, as far "
    "influence is small beside the numbers that are rounded",
)
def far_chunks_fade(setting: FadingSetting, lab: Lab) -> Verdict:
    """Beyond its chunk Mega sees a token through its average alone, and forgets it by the factor q per token.

    Twins: undamped, 1 - p; its half-life.
    """
    cells = [setting, *(replace(setting, input_gate=p, damping=d) for p, d in GATES)]
    parts = []
    for cell, runs in zip(cells, lab.simulate(fadings, *cells), strict=True):
        p, shape = cell.input_gate, runs["factor"].shape
        q = mega.decay(p, cell.damping)
        parts += [
            identical(
                runs["factor"], np.full(shape, q), rounding=1e6, twin=Twin.of("undamped", b=np.full(shape, 1 - p))
            ).named(f"factor at q = {q:g}"),
            identical(
                runs["half"],
                np.full(runs.n, mega.half_life(q)),
                rounding=1e6,
                twin=Twin.of("undamped", b=np.full(runs.n, mega.half_life(1 - p))),
            ).named(f"half-life at q = {q:g}"),
        ]
    return all_of(*parts)


@paper.claim(
    "filters_see_three_tokens",
    source="figure 1 of Wu et al.; the ranks are derived",
    statements=[8],
    setting=FILTERS,
    parts=2,
    kind="extrapolation",
    reads=("width",),
    covers={"width": at_least(4, "the twin is a rank more")},
    formula="rank of the tap at lags 0, 1, 2: D/2, D, D/2; at lag 3 and beyond, and ahead, 0; 2 D^2 + 3 D/2 numbers",
    judged="singular values above 10^-9, numbers counted, exactly in every replica",
)
def filters_see_three_tokens(setting: FilterSetting, lab: Lab) -> Verdict:
    """A localized filter sees the token through half its width, the one before fully, and the one before that through half.

    Twins: both convolutions of full width; filters without biases.
    """
    runs, D = lab.simulate(filters, setting), setting.width
    law = [local_filtering.tap_rank(lag, D) for lag in (0, 1, 2, 3, 4)] + [0]
    rows = [np.tile(np.array(values, float), (runs.n, 1)) for values in (law, [D, D, D, 0, 0, 0])]
    numbers = np.full(runs.n, float(local_filtering.n_filter_parameters(D)))
    return all_of(
        identical(runs["rank"].astype(float), rows[0], rounding=0, twin=Twin.of("full width", b=rows[1])).named(
            "ranks"
        ),
        identical(
            runs["numbers"].astype(float),
            numbers,
            rounding=0,
            twin=Twin.of("no biases", b=np.full(runs.n, 2.0 * D * D)),
        ).named("numbers"),
    )


@paper.claim(
    "one_layer_copies",
    source="figure 1 of Wu et al.; the construction is ours",
    statements=[9],
    setting=COPIES,
    parts=4,
    kind="extrapolation",
    reads=("vocabulary", "n_tokens"),
    covers={
        "vocabulary": that(lambda V: V <= 26, "at most 26", "more letters leave few repeated pairs in such a text")
    },
    formula="queries x_t (x_{t-1}), keys x_{j-1} (x_{j-2}), values x_j: right in every case whose suffix stood once before",
    judged="every case of every replica; without the filters every case is wrong",
)
def one_layer_copies(setting: CopySetting, lab: Lab) -> Verdict:
    """One filtered layer copies what followed the last letter, or the last two; keys without filters return the letter itself.

    Twins: the layer that compares one letter less; a layer without filters that is right once in a vocabulary.
    """
    cells = [setting, replace(setting, suffix=2)]
    parts = []
    for cell, runs in zip(cells, lab.simulate(copies, *cells), strict=True):
        of, seen = f"suffixes of {cell.suffix}", runs["cases"] > 0
        ones = np.ones(int(seen.sum()))
        parts += [
            identical(
                runs["right"][seen], ones, rounding=0, twin=Twin.of("a letter less", a=runs["short"][seen])
            ).named(of),
            identical(
                runs["without"][seen], 0 * ones, rounding=0, twin=Twin.of("chance", b=ones / cell.vocabulary)
            ).named(f"{of}, no filters"),
        ]
    return all_of(*parts)


@paper.claim(
    "fields_of_neighbours",
    source="section 3 of Hilsenbek (class of functions); the field is derived",
    statements=[10],
    setting=NEIGHBOURS,
    kind="extrapolation",
    reads=("n_layers",),
    covers={"n_layers": that(lambda L: L <= 10, "at most 10", "the text has twelve tokens")},
    formula="tokens that influence the last output of L layers: L + 1",
    judged="tokens whose Jacobian is not zero, exactly in every replica",
)
def fields_of_neighbours(setting: NeighbourSetting, lab: Lab) -> Verdict:
    """L layers of token and predecessor see L + 1 tokens, so they are blind to the order-m part of a chain with m > L + 1.

    Twin: fields that double per layer.
    """
    runs, every = lab.simulate(neighbours, setting), range(1, setting.n_layers + 1)
    law = np.tile([float(previous_token_mean.receptive_field(L)) for L in every], (runs.n, 1))
    rival = np.tile([2.0**L for L in every], (runs.n, 1))
    return identical(runs["seen"].astype(float), law, rounding=0, twin=Twin.of("doubling", b=rival))


@paper.claim(
    "far_tokens_enter_alike",
    source="section 3 of Hilsenbek (class of functions); the derivative is derived",
    statements=[11],
    setting=NEIGHBOURS,
    kind="extrapolation",
    reads=("n_tokens",),
    covers={"n_tokens": at_least(4, "two far tokens")},
    formula="dy_t/dx_s = (1/t) dy_t/dc_t for every s < t - 1",
    judged="Jacobians by each far token and by the mean, equal within 1000 roundings of the largest entry",
)
def far_tokens_enter_alike(setting: NeighbourSetting, lab: Lab) -> Verdict:
    """All far tokens enter one layer through the mean, with the same matrix: their order is invisible.

    Twin: a mean over the far tokens alone, 1/(t - 2).
    """
    runs, t = lab.simulate(neighbours, setting), setting.n_tokens
    by_mean = np.repeat(runs["by_mean"][:, None], t - 2, axis=1)
    return identical(
        runs["far"],
        previous_token_mean.far_sensitivity(t) * by_mean,
        rounding=1000,
        twin=Twin.of("1/(t - 2)", b=by_mean / (t - 2)),
    )


@paper.claim(
    "the_past_superposes",
    source="equations 5 and 6 of Chen",
    statements=[13],
    setting=EXTRACTS,
    kind="construction",
    formula="y(a + b) = y(a) + y(b) - y(0) for pasts a, b and one last token",
    judged="the operator's outputs, equal within 1000 roundings of the largest",
)
def the_past_superposes(setting: ExtractSetting, lab: Lab) -> Verdict:
    """The past enters an extractor linearly: nothing in it is selected by its content.

    Twin: one per cent more.
    """
    runs = lab.simulate(extracted, setting)
    return identical(runs["both"], runs["apart"], rounding=1000, twin=Twin.of("one per cent", b=1.01 * runs["apart"]))


@paper.claim(
    "extracts_grow_with_correlation",
    source="equation 5 of Chen (the factor 1/sqrt t); the variance is derived",
    statements=[14],
    setting=EXTRACTS,
    parts=6,
    kind="extrapolation",
    reads=("correlation", "lengths"),
    covers={"correlation": that(lambda rho: rho >= 0.3, "at least 0.3", "the twin is near for weaker ones")},
    formula="mean square after t tokens = 1 + rho (t - 1)",
    judged="means over replicas; a squared normal scatters by sqrt 2 of its mean",
)
def extracts_grow_with_correlation(setting: ExtractSetting, lab: Lab) -> Verdict:
    """The factor 1/sqrt t keeps the size of what is extracted for independent tokens only.

    Twins: 1 + rho t, the token itself counted twice, at t = 32 nine tenths of rho; for independent tokens a correlation of .1.
    """
    cells = [setting, replace(setting, correlation=INDEPENDENT)]
    of, parts = f"mean over replicas of {setting.n_draws} draws", []
    for cell, runs in zip(cells, lab.simulate(extracted, *cells), strict=True):
        for i, t in enumerate(cell.lengths):
            rho = cell.correlation
            law = extractor.extracted_variance(t, rho)
            rival = 1 + rho * t if t < 16 and rho else extractor.extracted_variance(t, 0.9 * rho if rho else 0.1)
            within = budget(replicas(law * math.sqrt(2 / cell.n_draws), runs.n, of=of))
            parts.append(
                agrees(runs["square"][:, i], law, within=within, of=of, twin=Twin.of("rival", predicted=rival)).named(
                    f"rho = {rho:g}, t = {t}"
                )
            )
    return all_of(*parts)
