r"""What the theories of attention scores say of the heads of a sentence encoder that nobody here trained, and what is measured.

``python -m attnlab.papers.second_moment_scores.trained_encoder ROOT`` reads pieces of 256 tokens of the documentation below ROOT,
one per file: the text is the unit of replication. Per head and law, D = measured - predicted on each text. A head *follows* if
Student's interval of the mean of D over texts, at .05 over the number of heads, lies within the margin, *departs* if it lies
outside, else it is open. Margins were fixed before any of these texts was read:

* .1 nats, a tenth of a sum of weights, for entropies and logarithms of sums; .05 for the share of decisions;
* ln 1.5 for HyperAttention's largest column, a maximum over 256; a relative error of .1 for rank n/8.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special
from scipy.interpolate import CubicSpline

from attnlab.analysis import figures
from attnlab.analysis.instruments.over_prompts import interval
from attnlab.simulators.outside import sentence_encoder
from attnlab.simulators.outside.head_scores import HeadScores, head_scores
from attnlab.theory.hashing.hyper_attention import column_weight_limit
from attnlab.theory.score_statistics import attention_rows, log_sum

TEXTS = ("docs/*.md", "docs/findings/*.md", "docs/howto/*.md")
N_TEXTS = 24
THRESHOLD = 0.6  # of the share of the local keys, from which on a head reads them alone
LEVEL = 0.05


@dataclass(frozen=True, eq=False)
class Law:
    """A law on every text and head: predicted and measured (text, head), the margin of their difference, units in words."""

    name: str
    predicted: np.ndarray
    measured: np.ndarray
    margin: float

    def verdicts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean difference per head, who follows, who departs."""
        d = self.measured - self.predicted
        low, high = interval(d, 1 - LEVEL / d.shape[1])
        return d.mean(0), (low > -self.margin) & (high < self.margin), (low > self.margin) | (high < -self.margin)


def laws(found: list[HeadScores], n: int, dim: int) -> list[Law]:
    """Every law on the numbers of the texts; n tokens, heads of width ``dim``."""

    def over(name: str) -> np.ndarray:
        return np.stack([getattr(each, name) for each in found])

    pooled, spread = over("pooled"), over("spread")
    each = np.vectorize
    v, mean, log_mean = over("variance"), over("mean"), over("log_mean")  # (text, head, row)
    n_rest, n_fit = (round(float(np.mean([getattr(one, name) for one in found]))) for name in ("n_bulk", "n_fit"))
    exact = tabulated(lambda s: log_sum.mean_log_mean_exact(n_rest, s), float(np.sqrt(v.max())))
    error = tabulated(
        lambda s: log_sum.std_of_estimated_log_sum_approx(n_rest, n_fit, s), min(float(np.sqrt(v.max())), 6.0)
    )
    s = np.sqrt(v)
    bulk = math.log(n_rest + n_fit) + mean + v / 2
    oracle = math.log(n_rest + n_fit) + log_mean
    at = special.logit(THRESHOLD)
    local = over("local")
    agree = ((local - bulk >= at) == (local - oracle >= at)).mean(-1)
    agree_law = special.ndtr(np.abs(local - bulk - at) / error(np.minimum(s, 6.0))).mean(-1)
    clusters = np.array([[[mixture(row) for row in head] for head in one.clusters] for one in found])
    entropy_row = tabulated(lambda x: attention_rows.entropy_exact(n, dim, x), float(spread.max()), 24)
    top = each(lambda size, a, b: column_weight_limit(size, a, b, dim))(
        over("largest_key"), over("query_std"), over("key_std")
    )
    entropy, ten = over("entropy"), 0.1
    return [
        Law("ln n - s^2/2, all scores", each(lambda x: attention_rows.entropy_limit(n, x))(pooled), entropy, ten),
        Law("ln n - s^2/2, within rows", each(lambda x: attention_rows.entropy_limit(n, x))(spread), entropy, ten),
        Law("exact at n, d, within rows", entropy_row(spread), entropy, ten),
        Law(
            "mean ln P = -ln n - s^2/2, within rows",
            each(lambda x: attention_rows.mean_log_weight_limit(n, x))(spread),
            over("mean_log_weight"),
            ten,
        ),
        Law("two moments", (v / 2).mean(-1), (log_mean - mean).mean(-1), ten),
        Law("two moments, exact at n", exact(s).mean(-1), (log_mean - mean).mean(-1), ten),
        Law("four Gaussian clusters", (clusters - mean).mean(-1), (log_mean - mean).mean(-1), ten),
        Law("local rule agrees", agree_law, agree, 0.05),
        Law("ln of largest column", np.log(top), np.log(over("top_key")), math.log(1.5)),
    ]


def mixture(row: np.ndarray) -> float:
    """The law of clusters for one row of (share, mean, variance)."""
    row = row[row[:, 0] > 0]
    return log_sum.log_mean_of_clusters_exact(row[:, 0], row[:, 1], np.maximum(row[:, 2], 1e-12))


def tabulated(law: Callable[[float], float], largest: float, points: int = 60) -> CubicSpline:
    """The law between 0.02 and ``largest``, by a spline through its values (error below 1e-4 there)."""
    at = np.geomspace(0.02, 1.01 * largest, points)
    return CubicSpline(at, [law(float(x)) for x in at])


def table(found: list[HeadScores], made: list[Law]) -> str:
    """Markdown: for every law how many heads follow, depart, are open, and the median of the difference."""
    lines = [
        "| law | follow | depart | open | median of measured - predicted | from | to |",
        "|---|---|---|---|---|---|---|",
    ]
    for law in made:
        d, follow, depart = law.verdicts()
        rest = d.size - follow.sum() - depart.sum()
        lines.append(
            f"| {law.name} | {follow.sum()} | {depart.sum()} | {rest} | {np.median(d):.3f} | {d.min():.2f} | {d.max():.2f} |"
        )
    for name, limit in (("rank_error", 0.1),):
        values = np.stack([getattr(each, name) for each in found])
        low, high = interval(values, 1 - LEVEL / values.shape[1])
        mean = values.mean(0)
        lines.append(
            f"| error of rank n/8 below {limit} | {(high < limit).sum()} | {(low > limit).sum()} | "
            f"{((low <= limit) & (high >= limit)).sum()} | {np.median(mean):.3f} | {mean.min():.2f} | {mean.max():.2f} |"
        )
    return "\n".join(lines)


def facts(found: list[HeadScores]) -> str:
    """Medians over heads of means over texts, with the range over heads, of what the laws start from."""
    lines = []
    for name in ("spread", "pooled", "kurtosis", "entropy", "key_dimensions", "top_key", "relative_variance"):
        mean = np.stack([getattr(each, name) for each in found]).mean(0)
        lines.append(f"{name.replace('_', ' ')}: {np.median(mean):.2f} ({mean.min():.2f} to {mean.max():.2f})")
    return "\n".join(lines)


def layers(made: list[Law], n_heads: int) -> str:
    """For every law and layer how many heads follow."""
    n_layers = made[0].predicted.shape[1] // n_heads
    lines = [
        "| heads that follow | " + " | ".join(f"L{i}" for i in range(n_layers)) + " |",
        "|---" * (n_layers + 1) + "|",
    ]
    for law in made:
        follow = law.verdicts()[1].reshape(n_layers, n_heads).sum(1)
        lines.append(f"| {law.name} | " + " | ".join(map(str, follow)) + " |")
    return "\n".join(lines)


def drawn(made: list[Law], n_texts: int) -> figures.Plate:
    """Predicted against measured, a point per head, for four of the laws."""
    plate = figures.Plate(columns=2, rows=2, width="double")
    by_name = {law.name: law for law in made}
    for panel, name, unit in zip(
        plate.panels,
        ("exact at n, d, within rows", "two moments", "local rule agrees", "ln of largest column"),
        ("mean entropy (nats)", "ln mean e^s - mean of s (nats)", "share of equal decisions", "ln n max |P e|^2"),
        strict=True,
    ):
        law = by_name[name]
        x, (low, high) = law.predicted.mean(0), interval(law.measured)
        ends = np.array([min(x.min(), low.min()), max(x.max(), high.max())])
        order = np.argsort(x)
        figures.prediction(panel, ends, ends, "measured = predicted", low=ends - law.margin, high=ends + law.margin)
        figures.estimate(
            panel,
            x[order],
            law.measured.mean(0)[order],
            low[order],
            high[order],
            "heads",
            interval=f"95 % t intervals over {n_texts} texts",
        )
        panel.labels(x=f"predicted {unit}", y="measured")
    plate.legend("below")
    return plate


def main() -> None:
    """Read, compare, print; with ``--figure`` draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder that holds docs/")
    parser.add_argument("--texts", type=int, default=N_TEXTS, help=f"how many (default {N_TEXTS})")
    parser.add_argument("--figure", type=Path, help="write NAME.png, .csv and so on there")
    options = parser.parse_args()
    if (why := sentence_encoder.missing()) is not None:
        parser.error(why)
    tokens = sentence_encoder.pieces(sentence_encoder.texts_of(options.root, TEXTS).values())
    tokens = tokens[np.linspace(0, len(tokens) - 1, min(options.texts, len(tokens))).astype(int)]
    model = sentence_encoder.encoder()
    found: list[HeadScores] = []
    for one in tokens:
        q, k = sentence_encoder.queries_and_keys(one[None], model)
        shape = q.shape
        found.append(head_scores(*(x.reshape(-1, *shape[-2:]) for x in (q, k))))
    made = laws(found, tokens.shape[1], shape[-1])
    print(f"{len(tokens)} texts of {tokens.shape[1]} tokens, fingerprint {sentence_encoder.fingerprint(tokens)}\n")
    print(facts(found), table(found, made), layers(made, shape[2]), sep="\n\n")
    if options.figure is not None:
        drawn(made, len(tokens)).save(options.figure.parent, options.figure.name)


if __name__ == "__main__":
    main()
