"""Claims on explanations: gauges, perturbed scores, relevance, deletion, fits, probes, pools and readers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, identical, ordered, replicas
from attnlab.analysis.verdicts.budget import Piece
from attnlab.papers.instruments_explanations.measured import (
    FitSetting,
    NetworkSetting,
    OrderSetting,
    PooledSetting,
    ProbeSetting,
    ReaderSetting,
    deleted,
    distances_of,
    fitted,
    pooled,
    pools,
    probed,
    propagated,
    read,
)
from attnlab.papers.instruments_explanations.paper import FITS, NETWORKS, ORDERS, POOLS, PROBES, READERS, paper
from attnlab.papers.lab.conditions import at_least, at_most, one_of
from attnlab.papers.lab.run.workbench import Lab
from attnlab.theory.instruments import explanations as theory


def _exact(found: np.ndarray, law: object, twin: Twin, rounding: float = 1000.0, scale: float = 1.0) -> Verdict:
    return identical(found, np.broadcast_to(law, found.shape).copy(), rounding=rounding, scale=scale, twin=twin)


def _filled(found: np.ndarray, value: object) -> np.ndarray:
    return np.broadcast_to(np.asarray(value, dtype=float), found.shape).copy()


@paper.claim(
    "gauge",
    source="section 1, exact deception theorem",
    statements=[1],
    kind="construction",
    parts=4,
    formula="a'_imp = eps, v'_j = v_j a_j/a'_j: same output, same contributions; values grow by a_imp/eps; a swap of the values "
    "turns f as before",
    judged="within 1000 roundings of 10; growth and swaps within 1000 roundings of their size",
    reads=("eps",),
    covers={"eps": at_most(0.01)},
)
def gauge(setting: PooledSetting, lab: Lab) -> Verdict:
    """Attention on marked tokens can be moved to any mass while the output and every contribution stay, the values grow by the
    ratio of the masses, and swapping the tokens still turns the output as much.

    Twins: the mass that was there; a change of a millionth; values grown by the ratio of what is left; half of the turn.
    """
    runs, eps = lab.simulate(pooled, setting), setting.eps
    before, after = runs["mass"].T
    growth = _filled(runs["norms"], np.vectorize(theory.value_gain)(before, eps)[:, None])
    rest = _filled(runs["norms"], ((1 - before) / (1 - eps))[:, None])
    swap, turned = runs["swap"].T
    return all_of(
        _exact(after, eps, Twin.of("the old mass", b=before)).named("mass"),
        _exact(runs["moved"], 0.0, Twin.of("1e-6", b=_filled(runs["moved"], 1e-6)), scale=10.0).named("output"),
        identical(
            runs["norms"], growth, rounding=1000, scale=float(growth.max()), twin=Twin.of("of what is left", b=rest)
        ).named("growth"),
        identical(turned, swap, rounding=1000, scale=10.0, twin=Twin.of("half", b=swap / 2)).named("swap"),
    )


@paper.claim(
    "perturbed_scores",
    source="section 2, facts",
    statements=[2],
    kind="extrapolation",
    parts=4,
    formula="sum_j dL/ds_j = 0; worst direction gains 1, against it -1, random ones have spread 1/sqrt(n); VAT's direction for "
    "two classes is +-g",
    judged="exact parts within 1000 roundings; gains within xi^2, the third derivative of a loss of values below 10; spread "
    "over directions within its own error, a kurtosis of at most 3, per replica",
    reads=("n_tokens", "size"),
    covers={"size": at_most(1e-3), "dim": at_least(4)},
)
def perturbed_scores(setting: PooledSetting, lab: Lab) -> Verdict:
    """The gradient by scores adds up to 0, its direction gains all there is, a random one 1/sqrt(n) of it, and for two classes
    virtual attacks are the plain ones.

    Twins: one score moved alone, 1/n; gain of a step along -g; 1/sqrt(n - 1), the directions of sum 0; a cosine of 1 - 1e-6.
    """
    runs, n = lab.simulate(pooled, setting), setting.n_tokens
    law = theory.random_gain_sd(n)
    of = f"mean over replicas of {setting.n_directions} draws"
    within = budget(
        replicas(law / (2 * setting.n_directions) ** 0.5, setting.n_replicas, of=of),
        Piece("xi^2", 10 * setting.size**2),
    )
    small = 1000 * setting.size**2
    gains, other = np.stack([runs["worst"], -runs["coded"]]), np.stack([runs["coded"], runs["worst"]])
    return all_of(
        _exact(runs["total"], 0.0, Twin.of("1/n", b=_filled(runs["total"], 1 / n))).named("sum"),
        identical(
            gains, np.ones_like(gains), rounding=1, eps=small, scale=1.0, twin=Twin.of("as coded", a=other)
        ).named("gains"),
        agrees(runs["spread"], law, within=within, of=of, twin=Twin.of("sum 0", predicted=(n - 1) ** -0.5)).named("random"),
        _exact(runs["cosine"], 1.0, Twin.of("1 - 1e-6", b=_filled(runs["cosine"], 1 - 1e-6))).named("two classes"),
    )  # fmt: skip


@paper.claim(
    "relevance",
    source="section 3, identities",
    statements=[3],
    setting=NETWORKS,
    kind="construction",
    parts=3,
    formula="sum R = f without biases, R = gradient x input; with biases sum R + leaks = f; through a norm gradient x input "
    "sums to 0, with its factor kept to f",
    judged="within 10^6 roundings, for sums over outputs near 0",
    reads=(),
)
def relevance(setting: NetworkSetting, lab: Lab) -> Verdict:
    """Relevance adds up to the output where there are no biases, and with the named shares of biases where there are; a norm
    makes it vanish unless its factor is kept.

    Twins: rule 0 with biases, called conserving; the norm's factor kept.
    """
    runs = lab.simulate(propagated, setting)
    whole = np.stack([runs["free"], runs["whole"], runs["detached"]])
    lost = np.stack([runs["free"], runs["biased"], runs["detached"]])
    return all_of(
        identical(whole, np.ones_like(whole), rounding=1e6, scale=1.0, twin=Twin.of("biases left out", a=lost)).named(
            "sums"
        ),
        _exact(runs["gradient"], 0.0, Twin.of("1e-6", b=_filled(runs["gradient"], 1e-6)), 1e6).named("gradient"),
        _exact(runs["plain"], 0.0, Twin.of("factor kept", a=runs["detached"]), 1e6).named("norm"),
    )


@paper.claim(
    "deletion",
    source="section 4, deletion and insertion",
    statements=[4],
    setting=ORDERS,
    kind="extrapolation",
    parts=3,
    formula="area sum_j c_j (j - 1/2)/(n sum c); random orders 1/2 with spread sqrt((n+1)/(12n)) |c - mean|/sum c; scores 1 and "
    "-1",
    judged="best and worst areas and scores within 1000 roundings; random orders: per replica against its own spread, in "
    "logarithms",
    reads=("n_inputs",),
)
def deletion(setting: OrderSetting, lab: Lab) -> Verdict:
    """Areas of the best and worst order are sums, their scores 1 and -1, and random orders lie around 1/2 with a known spread.

    Twins: j in place of j - 1/2; 1/2 + 1/n; independent draws, the spread sqrt(1/12) |c|/sum c.
    """
    runs = lab.simulate(deleted, setting)
    c, n = runs["contributions"], setting.n_inputs
    laws = np.array([[theory.deletion_area(np.sort(each)[::-1]), theory.deletion_area(np.sort(each))] for each in c])
    ends = np.stack([runs["best"], runs["worst"]], 1)
    spread = np.array([theory.random_deletion_sd(each) for each in c])
    loose = np.linalg.norm(c, axis=1) / c.sum(1) / 12**0.5
    of, root = f"mean over replicas of {setting.n_orders} draws", setting.n_orders**0.5
    within = budget(replicas(float(spread.mean()) / root, setting.n_replicas, of=of))
    loosely = budget(replicas(1 / (2**0.5 * root), setting.n_replicas, of=of), Piece("logarithm", 1 / setting.n_orders))
    scores = _filled(runs["score"], [1.0, -1.0])
    return all_of(
        identical(
            np.concatenate([ends, runs["score"]], 1), np.concatenate([laws, scores], 1), rounding=1000, scale=1.0,
            twin=Twin.of("j", b=np.concatenate([laws + 1 / (2 * n), scores], 1)),
        ).named("ends"),
        agrees(runs["mean"], 0.5, within=within, of=of, twin=Twin.of("1/n more", predicted=0.5 + 1 / n)).named("mean"),
        agrees(
            np.log(runs["spread"]), np.log(spread), within=loosely, of=of, scale=1.0,
            twin=Twin.of("independent draws", predicted=np.log(loose)),
        ).named("spread"),
    )  # fmt: skip


@paper.claim(
    "screened_powers",
    source="section 5, truth",
    statements=[5],
    setting=FITS,
    kind="extrapolation",
    parts=6,
    formula="p and 1/lambda unbiased, spreads sigma sqrt(diag (X^T X)^-1); a range of 1 to 1.5 tells them several times worse",
    judged="means over prompts by these spreads; spreads by their error, spread/sqrt(2 n), normal",
    reads=("power", "screening", "noise_sd", "nearest", "farthest"),
)
def screened_powers(setting: FitSetting, lab: Lab) -> Verdict:
    """A screened power of the distance is read without bias and with the spread of least squares.

    Twins: means 2 % off; spreads of fits of one unknown, the other being known.
    """
    of = f"mean over replicas of {setting.n_prompts} draws"
    narrow = replace(setting, nearest=1.0, farthest=1.5)
    parts = []
    for name, at, runs in zip(
        ("wide", "narrow"), (setting, narrow), lab.simulate(fitted, setting, narrow), strict=True
    ):
        r = distances_of(at)
        law = theory.screened_power_sd(r, at.noise_sd)
        alone = [at.noise_sd / np.linalg.norm(x - x.mean(-1, keepdims=True)) for x in (np.log(r), r)]
        truth = at.power, at.screening
        for k, label in enumerate(("power", "screening")):
            size = float(law[k]) / at.n_prompts**0.5
            if name == "wide":
                parts.append(
                    agrees(
                        runs["mean"][:, k], truth[k], within=budget(replicas(size, at.n_replicas, of=of)), of=of,
                        twin=Twin.of("2 % off", predicted=1.02 * truth[k]),
                    ).named(label)
                )  # fmt: skip
            within = budget(replicas(size / 2**0.5, at.n_replicas, of=of))
            parts.append(
                agrees(
                    runs["spread"][:, k], float(law[k]), within=within, of=of,
                    twin=Twin.of("one unknown", predicted=float(alone[k])),
                ).named(f"spread of {label}, {name}")
            )  # fmt: skip
    return all_of(*parts)


CELLS = ((20, 100, 1.0), (100, 100, 1.0), (400, 100, 2.0))


@paper.claim(
    "probes",
    source="section 7, small-sample law",
    statements=[7],
    setting=PROBES,
    kind="extrapolation",
    parts=len(CELLS) + 1,
    formula="E Phi(D w_1/(2 |w| sqrt(1 + 1/n))), w_1 ~ N(D, 4/n), |w|^2 = w_1^2 + (4/n) chi^2_(d-1)",
    judged="means over problems at (d, n, D) = (20, 100, 1), (100, 100, 1), (400, 100, 2); the spread of one problem's accuracy "
    "is at most .5/sqrt(n) of its test states and .5/sqrt(n) of its training",
    reads=("n_train",),
    covers={"n_train": one_of(100)},
)
def probes(setting: ProbeSetting, lab: Lab) -> Verdict:
    """What a probe reads is set by the distance of the classes, the dimension and the number of states, and shuffled labels are
    at chance.

    Twins: the accuracy of the best probe, Phi(D/2); for shuffled labels .55.
    """
    of = f"mean over replicas of {setting.n_draws} draws"
    within = budget(replicas(0.5 * 2**0.5 / (setting.n_train * setting.n_draws) ** 0.5, setting.n_replicas, of=of))
    every = lab.simulate(probed, *(replace(setting, dim=d, n_train=n, distance=delta) for d, n, delta in CELLS))
    parts = []
    for (d, n, delta), runs in zip(CELLS, every, strict=True):
        law = theory.probe_accuracy_exact(delta, d, n)
        best = theory.probe_accuracy_exact(delta, d, 10**8)
        parts.append(
            agrees(runs["accuracy"], law, within=within, of=of, twin=Twin.of("best probe", predicted=best)).named(
                f"d = {d}, D = {delta:g}"
            )
        )
    control = agrees(every[0]["control"], 0.5, within=within, of=of, twin=Twin.of(".55", predicted=0.55))
    return all_of(*parts, control.named("control"))


COUNTS = (4, 16)


@paper.claim(
    "pools",
    source="section 6, truth; the probe's own law is added",
    statements=[6],
    setting=POOLS,
    kind="extrapolation",
    parts=2 * len(COUNTS),
    formula="mean pool: distance D/sqrt(N); a pool that finds the token: D; both through the law of the probe",
    judged="means over problems, N = 4 and 16; dimensions 20 of the mean (19 with noise, one of markers alike in all), n = 200; "
    "spreads as for probes",
    reads=("n_train", "distance", "dim"),
    covers={"n_train": one_of(200), "dim": one_of(20)},
)
def pooled_probes(setting: ProbeSetting, lab: Lab) -> Verdict:
    """The mean of N tokens knows what one of them knows at a distance smaller by sqrt(N), and an attention that finds the token
    knows it whole.

    Twins: mean pool, a distance smaller by N^(1/3); attention, the mean pool's.
    """
    of = f"mean over replicas of {setting.n_draws} draws"
    within = budget(replicas(0.5 * 2**0.5 / (setting.n_train * setting.n_draws) ** 0.5, setting.n_replicas, of=of))
    parts = []
    every = lab.simulate(pools, *(replace(setting, n_tokens=n) for n in COUNTS))
    for n, runs in zip(COUNTS, every, strict=True):

        def accuracy(distance: float) -> float:
            return theory.probe_accuracy_exact(distance, setting.dim - 1, setting.n_train)

        mean = accuracy(theory.mean_pool_distance(setting.distance, n))
        cube, whole = accuracy(setting.distance / n ** (1 / 3)), accuracy(setting.distance)
        twins = Twin.of("N^(1/3)", predicted=cube), Twin.of("mean pool", predicted=mean)
        parts += [
            agrees(runs["mean"], mean, within=within, of=of, twin=twins[0]).named(f"mean, N = {n}"),
            agrees(runs["attended"], whole, within=within, of=of, twin=twins[1]).named(f"attention, N = {n}"),
        ]
    return all_of(*parts)


AXES = (0, 4, 20)


@paper.claim(
    "readers",
    source="section 8, law; exact form derived here",
    statements=[8],
    setting=READERS,
    kind="extrapolation",
    parts=len(AXES) + 2,
    formula="1/2 + (1/pi) int 2/sqrt(pi a) D(t mu/sqrt(2a)) prod_j (1 + t^2 lambda_j^2/n)^(-1/2) dt/t",
    judged="means over prompts, spectrum 1/j, axes 1, 5, 21, and equal variances; spread of a share; u_k taken as normal: the "
    "effect of its own noise over sqrt(n); ridge: axes 1 and 5 nearer than with the Hebbian reader",
    reads=("dim", "n_examples", "decay"),
    covers={"n_examples": at_least(16), "decay": one_of(1.0)},
)
def readers(setting: ReaderSetting, lab: Lab) -> Verdict:
    """A reader that adds up labelled states is right by an exact law of the variances, better on larger ones; a ridge regression
    evens that order out.

    Twins: half of the examples, on the last axis chance; ridge: an order weaker by .2.
    """
    of, n = f"mean over replicas of {setting.n_prompts} draws", setting.n_examples
    cells = [replace(setting, axis=axis) for axis in AXES] + [replace(setting, decay=0.0)]
    every, parts = lab.simulate(read, *cells), []
    for at, runs in zip(cells, every, strict=True):
        variances = np.arange(1, at.dim + 1) ** -at.decay
        law, mean = (theory.hebbian_accuracy(variances, at.axis, n, own) for own in (True, False))
        fewer = 0.5 if at.axis == max(AXES) else theory.hebbian_accuracy(variances, at.axis, n // 2)
        size = (law * (1 - law) / at.n_prompts) ** 0.5
        within = budget(replicas(size, at.n_replicas, of=of), Piece("normal u_k", abs(law - mean) / n**0.5))
        name = f"axis {at.axis + 1}" if at.decay else "equal variances"
        parts.append(
            agrees(
                runs["hebb"], law, within=within, of=of, twin=Twin.of("half the examples, or chance", predicted=fewer)
            ).named(name)
        )
    hebb, ridge = (every[0][name] - every[1][name] for name in ("hebb", "ridge"))
    parts.append(ordered(ridge, hebb, twin=Twin.of(".2 less", by=0.2)).named("ridge"))
    return all_of(*parts)
