"""Classical facts on attention: Lipschitz constants, entropy, limits of temperature, identities, collapse, convergence.

Each fact is stated for all inputs: in the dimension of the setting by a search, and where possible also in one to three
dimensions with a proof (in ball arithmetic on a box, mostly up to 0.01, or by sympy). The small form may drop what is free,
such as the shift of the logits or their scale, or state a Lipschitz bound for the derivative; its verdict names the box.
Facts marked elementary are derived in the docstring of their bound.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, agrees, all_of, budget, replicas
from attnlab.analysis.figures.marks import Mark
from attnlab.analysis.figures.plate import Plate
from attnlab.analysis.figures.style import style
from attnlab.papers.classical_facts import attention_algebra, attention_output, depth, entropy, log_sum_exp, softmax_map
from attnlab.papers.classical_facts.setting import Setting
from attnlab.papers.classical_facts.small_forms import note_on
from attnlab.papers.lab.declare import Paper, Source
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.softmax_attention.score_initialisation import ScoreSetting, random_scores
from attnlab.theory.softmax_attention import score_initialisation

BOYD = Source(
    authors="Stephen Boyd, Lieven Vandenberghe",
    title="Convex Optimization",
    year=2004,
    venue="Cambridge University Press",
)
GAO = Source(
    authors="Bolin Gao, Lacra Pavel",
    year=2017,
    arxiv="1704.00805",
    title="On the Properties of the Softmax Function with Application in Game Theory and Reinforcement Learning",
)
HOEFFDING = Source(
    authors="Wassily Hoeffding",
    title="Probability Inequalities for Sums of Bounded Random Variables",
    year=1963,
    venue="Journal of the American Statistical Association",
)
COVER = Source(
    authors="Thomas M. Cover, Joy A. Thomas", title="Elements of Information Theory", year=2006, venue="Wiley"
)
BAILLON = Source(
    authors="Jean-Bernard Baillon, Georges Haddad",
    year=1977,
    venue="Israel Journal of Mathematics",
    title="Quelques propriétés des opérateurs angle-bornés et n-cycliquement monotones",
)
KIM = Source(
    authors="Hyunjik Kim, George Papamakarios, Andriy Mnih",
    title="The Lipschitz Constant of Self-Attention",
    year=2021,
    venue="International Conference on Machine Learning",
    arxiv="2006.04710",
)
DONG = Source(
    authors="Yihe Dong, Jean-Baptiste Cordonnier, Andreas Loukas",
    year=2021,
    arxiv="2103.03404",
    venue="International Conference on Machine Learning",
    title="Attention is Not All You Need: Pure Attention Loses Rank Doubly Exponentially with Depth",
)
BIRKHOFF = Source(
    authors="Garrett Birkhoff",
    title="Extensions of Jentzsch's Theorem",
    year=1957,
    venue="Transactions of the American Mathematical Society",
)
FRANKLIN = Source(
    authors="Joel Franklin, Jens Lorenz",
    title="On the Scaling of Multidimensional Matrices",
    year=1989,
    venue="Linear Algebra and its Applications",
)
SANDER = Source(
    authors="Michael E. Sander, Pierre Ablin, Mathieu Blondel, Gabriel Peyré",
    year=2022,
    arxiv="2110.11773",
    title="Sinkformers: Transformers with Doubly Stochastic Attention",
)
MILAKOV = Source(
    authors="Maxim Milakov, Natalia Gimelshein",
    title="Online Normalizer Calculation for Softmax",
    year=2018,
    arxiv="1805.02867",
)
KATHAROPOULOS = Source(
    authors="Angelos Katharopoulos, Apoorv Vyas, Nikolaos Pappas, François Fleuret",
    year=2020,
    title="Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
    arxiv="2006.16236",
    venue="International Conference on Machine Learning",
)
TSAI = Source(
    authors="Yao-Hung Hubert Tsai, Shaojie Bai, Makoto Yamada, Louis-Philippe Morency, Ruslan Salakhutdinov",
    title="Transformer Dissection: A Unified Understanding of Transformer's Attention via the Lens of Kernel",
    year=2019,
    arxiv="1908.11775",
)
VASWANI = Source(
    authors="Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, "
    "Łukasz Kaiser, Illia Polosukhin",
    title="Attention Is All You Need",
    year=2017,
    arxiv="1706.03762",
)

ELEMENTARY = "elementary"
FACTS = (
    # function, formula, source
    (
        softmax_map.lipschitz_l2,
        "|softmax(beta x) - softmax(beta y)|_2 <= (beta / 2) |x - y|_2",
        f"{ELEMENTARY}; with beta for beta / 2 in Gao and Pavel 2017",
    ),
    (softmax_map.lipschitz_l1, "|softmax(beta x) - softmax(beta y)|_1 <= (beta / 2) |x - y|_1", ELEMENTARY),
    (softmax_map.lipschitz_linf, "|softmax(beta x) - softmax(beta y)|_inf <= (beta / 2) |x - y|_inf", ELEMENTARY),
    (softmax_map.l1_saturates, "|softmax(x) - softmax(y)|_1 <= 2 tanh(spread(x - y) / 4)", ELEMENTARY),
    (
        softmax_map.cocoercive,
        "<softmax(beta x) - softmax(beta y), x - y> >= (2 / beta) |softmax(beta x) - softmax(beta y)|^2",
        "Baillon and Haddad 1977 with the Lipschitz constant; Gao and Pavel 2017 with 1 / beta",
    ),
    (softmax_map.jacobian_form, "u^T (diag p - p p^T) u = sum_ij p_i p_j (u_i - u_j)^2 / 2", ELEMENTARY),
    (softmax_map.jacobian_norm, "u^T (diag p - p p^T) u <= max p |u|^2", ELEMENTARY),
    (softmax_map.jacobian_saturates, "u^T (diag p - p p^T) u <= 2 (1 - max p) |u|^2", ELEMENTARY),
    (softmax_map.largest_weight_at_spread, "max p <= 1 / (1 + (n - 1) exp(-s)), s = spread of the logits", ELEMENTARY),
    (softmax_map.smallest_weight_at_spread, "min p >= 1 / (1 + (n - 1) exp(s)), s = spread of the logits", ELEMENTARY),
    (softmax_map.shift_invariance, "softmax(x + c) = softmax(x)", ELEMENTARY),
    (softmax_map.argmax_limit, "|softmax(beta x) - e_top|_1 <= 2 (n - 1) / (n - 1 + exp(beta g))", ELEMENTARY),
    (softmax_map.uniform_limit, "|softmax(beta x) - 1/n|_1 <= 2 tanh(beta spread(x) / 4)", ELEMENTARY),
    (
        log_sum_exp.lse_max,
        "max x <= lse(beta x) / beta <= max x + log(n) / beta",
        "Boyd and Vandenberghe 2004, section 3.1.5",
    ),
    (log_sum_exp.lse_mean, "0 <= lse(x) - log n - mean(x) <= spread(x)^2 / 8", "Hoeffding 1963, Hoeffding's lemma"),
    (
        log_sum_exp.lse_smooth,
        "f(y) - f(x) - <softmax(beta x), y - x> <= (beta / 4) |y - x|^2, f(x) = lse(beta x) / beta",
        ELEMENTARY,
    ),
    (log_sum_exp.lse_convex, "lse(y) >= lse(x) + <softmax(x), y - x>", "Boyd and Vandenberghe 2004, section 3.1.5"),
    (
        log_sum_exp.gibbs,
        "lse(x) >= <q, x> + H(q), with equality at q = softmax(x)",
        "Boyd and Vandenberghe 2004, section 3.3.1 (conjugate of log-sum-exp)",
    ),
    (log_sum_exp.gibbs_gap, "lse(x) - <q, x> - H(q) = KL(q | softmax(x))", ELEMENTARY),
    (log_sum_exp.divergence_at_spread, "KL(softmax(x) | softmax(y)) <= spread(x - y)^2 / 8", ELEMENTARY),
    (log_sum_exp.pinsker, "KL(p | q) >= |p - q|_1^2 / 2", "Cover and Thomas 2006, Lemma 11.6.1 (Pinsker's inequality)"),
    (entropy.entropy_range, "0 <= H(softmax(x)) <= log n", "Cover and Thomas 2006, Theorem 2.6.4"),
    (entropy.entropy_deficit, "H(softmax(x)) >= log n - spread(x)^2 / 8", ELEMENTARY),
    (
        entropy.fano,
        "H(p) <= h(max p) + (1 - max p) log(n - 1)",
        "Cover and Thomas 2006, section 2.10 (Fano's inequality)",
    ),
    (entropy.renyi_order, "1 / max p <= 1 / sum p^2 <= exp H(p) <= n", "elementary (order of the Rényi entropies)"),
    (entropy.entropy_slope, "dH(softmax(beta x)) / d beta = -beta Var_p(x)", ELEMENTARY),
    (entropy.score_slope, "0 <= E_(beta+h) x - E_beta x <= h spread(x)^2 / 4", ELEMENTARY),
    (attention_output.hull, "<u, sum p_i v_i> <= max_i <u, v_i>", ELEMENTARY),
    (attention_output.dropped_mass, "|o - o_kept| <= 2 (1 - gamma) max |v|", ELEMENTARY),
    (attention_output.truncated_mass, "|o - sum_kept p_i v_i| <= (1 - gamma) max |v|", ELEMENTARY),
    (attention_output.output_change, "|o(x) - o(y)| <= tanh(spread(x - y) / 4) diam(v)", ELEMENTARY),
    (attention_output.query_gradient, "|do/dq| <= beta diam(k) diam(v) / 4", ELEMENTARY),
    (attention_output.loss_gradient, "|grad_x (-log softmax(x)_y)| <= sqrt(2) (1 - p_y)", ELEMENTARY),
    (attention_algebra.permutation_equivariance, "attention(P X) = P attention(X)", ELEMENTARY),
    (
        attention_algebra.merging,
        "merge(a, merge(b, c)) = merge(merge(a, b), c) = attention over all keys",
        "Milakov and Gimelshein 2018, section 3",
    ),
    (
        attention_algebra.linear_recurrence,
        "(Q K^T masked) V = rows q_t S_t with S_t = S_(t-1) + k_t v_t^T",
        "Katharopoulos et al. 2020, section 3.3",
    ),
    (
        attention_algebra.kernel_smoothing,
        "softmax(K q) = softmax(-|q - k_i|^2 / 2) if all |k_i| are equal",
        "Tsai et al. 2019, in other terms; elementary",
    ),
    (depth.rank_collapse_layer, "D' <= tanh(D^2 / 4) D", "elementary; cubic rate in Dong et al. 2021"),
    (
        depth.rank_collapse_depth,
        "D_L / 2 <= (D_0 / 2)^(3^L)",
        "Dong et al. 2021, Theorem 2.1, in other terms; elementary",
    ),
    (depth.growth, "Lip(self-attention on [-R, R]^3) >= R^2 / 2", "Kim et al. 2021, Theorem 3.1, made quantitative"),
    (depth.birkhoff, "d(K e^a, K e^b) <= tanh(Delta / 4) d(e^a, e^b), d Hilbert's metric", "Birkhoff 1957"),
    (
        depth.sinkhorn_rate,
        "delta_(t+1) <= tanh(Delta / 4)^2 delta_t, delta_1 <= tanh(Delta / 4) Delta",
        "Franklin and Lorenz 1989; for attention Sander et al. 2022",
    ),
)

SCORES = len(FACTS) + 1
paper = Paper(
    key="classical_facts",
    title="Classical facts on softmax attention",
    sources=[
        BOYD,
        GAO,
        HOEFFDING,
        COVER,
        BAILLON,
        KIM,
        DONG,
        BIRKHOFF,
        FRANKLIN,
        SANDER,
        MILAKOV,
        KATHAROPOULOS,
        TSAI,
        VASWANI,
    ],
    statements={
        **{k: " ".join((fact.__doc__ or "").split()) for k, (fact, _, _) in enumerate(FACTS, 1)},
        SCORES: "Scores of random queries and keys have variance 1 after division by the root of the dimension.",
        SCORES + 1: "Their kurtosis exceeds that of a Gaussian by 6 / dim.",
    },
)

DESK = Setting()
paper.scales(
    smoke=replace(DESK, dim=4, budget=50_000),
    desk=DESK,
    paper=replace(DESK, dim=16, budget=1_000_000, n_pairs=1_000_000, n_replicas=32),
)

for _number, (_fact, _formula, _source) in enumerate(FACTS, 1):
    paper.for_all(_fact.__name__, source=_source, statements=[_number], formula=_formula, note=note_on(_fact.__name__))(
        _fact
    )


def scores(setting, lab: Lab):
    """``(dim, runs)`` of the random scores at each query dimension of the setting."""
    settings = [ScoreSetting(dim=d, n_pairs=setting.n_pairs, n_replicas=setting.n_replicas) for d in setting.score_dims]
    runs = lab.simulate(random_scores, *settings)
    return list(zip(setting.score_dims, runs if len(settings) > 1 else [runs], strict=True))


@paper.claim(
    "score_variance",
    source="Vaswani et al. 2017, section 3.2.1",
    statements=[SCORES],
    parts=2,
    formula="Var(q . k / sqrt(dim)) = 1",
    assumptions=["independent standard normal entries"],
    judged="the mean square is 1 at every dimension; margin: what the pairs leave open, from the fourth moment 3 + 6 / dim",
    reads=("score_dims", "n_pairs"),
)
def score_variance(setting: Setting, lab: Lab) -> Verdict:
    """Scores of random queries and keys have variance 1 when divided by the root of the query dimension.

    Twin: division by the root of ``dim + 1``, as if a bias entry were counted.
    """
    verdicts, of = [], f"mean over replicas of {setting.n_pairs} draws"
    for d, runs in scores(setting, lab):
        spread = (score_initialisation.score_kurtosis_exact(d) - 1) ** 0.5
        verdicts.append(
            agrees(
                runs["variance"],
                score_initialisation.score_variance_exact(d, d**-0.5),
                within=budget(replicas(spread / setting.n_pairs**0.5, setting.n_replicas, of=of)),
                of=of,
                twin=Twin.of("one more entry", predicted=d / (d + 1)),
            ).named(f"dim {d}")
        )
    return all_of(*verdicts)


@paper.claim(
    "score_kurtosis",
    source="elementary",
    statements=[SCORES + 1],
    parts=2,
    formula="E s^4 / (E s^2)^2 = 3 + 6 / dim",
    assumptions=["independent standard normal entries"],
    judged="the mean fourth power at scale dim^(-1/2); margin: what the pairs leave open, from the eighth moment",
    reads=("score_dims", "n_pairs"),
)
def score_kurtosis(setting: Setting, lab: Lab) -> Verdict:
    """Scores of random queries and keys are heavier-tailed than a Gaussian: their kurtosis is 3 + 6 / dim.

    Twin: Gaussian scores.
    """
    verdicts, of = [], f"mean over replicas of {setting.n_pairs} draws"
    for d, runs in scores(setting, lab):
        predicted = score_initialisation.score_kurtosis_exact(d)
        # given its query a score is normal of variance |q|^2 / d: its eighth moment is 105 E (|q|^2 / d)^4
        eighth = 105 * (1 + 2 / d) * (1 + 4 / d) * (1 + 6 / d)
        spread = ((eighth - predicted**2) / setting.n_pairs) ** 0.5
        verdicts.append(
            agrees(
                runs["fourth"],
                predicted,
                within=budget(replicas(spread, setting.n_replicas, of=of)),
                of=of,
                twin=Twin.of("Gaussian scores", predicted=3.0),
            ).named(f"dim {d}")
        )
    return all_of(*verdicts)


@paper.figure(
    "fig1",
    caption="How sharp each fact is: relative distance between the two sides at the worst input that the "
    "search found (its floor: 1e-16). Identities and facts whose bound is 0 have no ratio",
)
@style()
def sharpness(setting: Setting, lab: Lab) -> Plate:
    """Relative slack of every for-all claim, by the strongest level of its forms."""
    rows = []
    for claim in paper.claims.values():
        if claim.forms is not None:
            verdict = claim.function(setting, lab)
            if verdict.tightness is not None and verdict.judged_by != "identity":
                rows.append((claim.name.replace("_", " "), max(1 - verdict.tightness, 1e-16), strongest(verdict)))
    plate = Plate(width=4.6, height=1.0 + 0.16 * len(rows))
    plate[0].scale(x="log")
    panel, names = plate[0], tuple(name for name, _, _ in rows)
    for level in ("searched", "certified", "symbolic"):
        at = np.array([k for k, row in enumerate(rows) if row[2] == level])
        if at.size:
            slack, label = (
                np.array([rows[k][1] for k in at]),
                f"{level} form" if level != "searched" else "searched only",
            )
            look = panel.look(label)
            (points,) = panel.axes.plot(slack, at, look.marker, color=look.colour, markersize=4)
            panel.entry(label, points)
            panel.record(
                Mark(panel.name, "slack", label, slack, at.astype(float), categories=tuple(names[k] for k in at))
            )
    panel.axes.set_yticks(range(len(names)), list(names))
    panel.axes.invert_yaxis()
    panel.labels(x="relative gap of the two sides at the worst input found", y="fact")
    plate.legend("below")
    return plate


def strongest(verdict):
    """The strongest level among the forms of a verdict."""
    return max((part.name for part in verdict.parts), key=["searched", "certified", "symbolic"].index)
