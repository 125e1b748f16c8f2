"""Claims about trained heads: a GAT head stays static, what it still fits, and what several of them fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.analysis import Twin, Verdict, all_of, bounded, identical, ordered, share
from attnlab.papers.gatv2_dynamic_attention.paper import MANY, TRAINING, paper
from attnlab.papers.lab.conditions import one_of, that
from attnlab.papers.lab.run.workbench import Lab
from attnlab.simulators.graph_attention.lookup import LookupSetting, lookup


@paper.claim(
    "trained_gat_is_static",
    source="theorem 1, section 4.1",
    statements=[1, 4],
    setting=TRAINING,
    covers={"score": one_of("gat")},
    formula="one favourite key per head and graph",
    judged="the share of training graphs with one favourite key for all queries, in every replica at every record",
)
def trained_gat_is_static(setting: LookupSetting, lab: Lab) -> Verdict:
    """A single GAT head keeps one favourite key for all queries of a graph throughout its training. Twin: GATv2 does."""
    gat, v2 = lab.simulate(lookup, setting, replace(setting, score="gatv2"))
    return identical(gat["static"], np.ones_like(gat["static"]), rounding=4, twin=Twin.of("GATv2", a=v2["static"]))


@paper.claim(
    "trained_gat_lags",
    source="section 4.1",
    statements=[4],
    setting=MANY,
    covers={"score": one_of("gat")},
    formula="accuracy on training graphs: GAT below GATv2 by at least 1 / k",
    undecided_at_smoke="with four words one static head fits often enough to leave the median open",
    judged="median over replicas of the paired differences: one answer per graph",
)
def trained_gat_lags(setting: LookupSetting, lab: Lab) -> Verdict:
    """Trained from random weights, a single GAT head answers fewer training queries than GATv2, by one answer per graph
    at least.

    Twin: a second run of GATv2 in the place of GAT.
    """
    one, _, v2 = _accuracies(setting, lab)
    return ordered(
        one[:, -1],
        v2[:, -1],
        by=1 / setting.n_words,
        of="median over replicas",
        twin=Twin.of("GATv2 for GAT", smaller=np.roll(v2[:, -1], 1)),
        null=Twin.of("nothing is learnt", smaller=one[:, 0], larger=v2[:, 0]),
    )


@paper.claim(
    "trained_gat_stops_at_two_answers",
    source="derived; the plateau of 2/k that single heads are reported at",
    statements=[4],
    setting=TRAINING,
    kind="extrapolation",
    expected="REFUTED",
    covers={"score": one_of("gat")},
    formula="accuracy <= 2/k",
    judged="accuracy on the training set at the last step, every replica",
    note="Some replicas leave the plateau with static attention: their keys speak against their own values.",
)
def trained_gat_stops_at_two_answers(setting: LookupSetting, lab: Lab) -> Verdict:
    """Trained from random weights, no single GAT head answers more than 2/k of the training queries.

    Twin: none passes the frequency of one answer, 1/k.
    """
    runs = lab.simulate(lookup, setting)
    k = setting.n_words
    return bounded(
        runs["train_nodes"][:, -1], 2 / k, of="every replica", within=1e-9, twin=Twin.of("one answer", bound=1 / k)
    )


@paper.claim(
    "trained_gatv2_fits",
    source="section 4.1",
    statements=[4],
    setting=TRAINING,
    formula="accuracy 1 on training graphs and on held-out permutations, in at least half of all replicas",
    undecided_at_smoke="of four words five permutations are held out, and a few replicas miss some",
    judged="share of replicas that answer every query at the last step; a few miss some of the 24 permutations held out",
)
def trained_gatv2_fits(setting: LookupSetting, lab: Lab) -> Verdict:
    """A single GATv2 head trained from random weights answers every query of the training set and of permutations held out, in at
    least half of all replicas. Twin: GAT does.
    """
    v2, gat = lab.simulate(lookup, replace(setting, score="gatv2"), replace(setting, score="gat"))
    fits = [(runs["train_nodes"] == 1) & (runs["test_nodes"] == 1) for runs in (v2, gat)]
    return share(fits[0][:, -1], at_least=0.5, twin=Twin.of("GAT", successes=fits[1][:, -1]), null=fits[0][:, 0])


@paper.claim(
    "heads_help",
    source="section 4.1",
    statements=[4],
    setting=TRAINING,
    formula="accuracy on training graphs: four heads above one head by at least 1 / (2 k)",
    undecided_at_smoke="with four words one static head fits often enough to leave the median open",
    judged="median over replicas of the paired differences; the least difference that counts is half an answer per graph",
)
def heads_help(setting: LookupSetting, lab: Lab) -> Verdict:
    """Four GAT heads answer more training queries than a single one, by half an answer per graph at least.

    Twin: GATv2 against four heads.
    """
    one, four, v2 = _accuracies(setting, lab)
    return ordered(
        one[:, -1],
        four[:, -1],
        by=0.5 / setting.n_words,
        of="median over replicas",
        twin=Twin.of("GATv2 against four heads", smaller=four[:, -1], larger=v2[:, -1]),
        null=Twin.of("nothing is learnt", smaller=one[:, 0], larger=four[:, 0]),
    )


@paper.claim(
    "several_static_heads_fit",
    source="section 4.1, against 'only partially'",
    statements=[4],
    setting=MANY,
    parts=2,
    kind="extrapolation",
    formula="accuracy 1 on training graphs in at least a quarter of all replicas, at k = 4 or 5",
    undecided_at_smoke="with four words and 32 replicas a single head cannot be told from a quarter",
    judged="share of replicas; a quarter was set after a look at eight replicas of another seed; half is not decided by 32 of "
    "seed 0",
    covers={"n_words": that(lambda k: k <= 5, "at most 5", "more words want more heads")},
)
def several_static_heads_fit(setting: LookupSetting, lab: Lab) -> Verdict:
    """Four GAT heads, each with one favourite key for all queries, fit the training set in at least a quarter of all replicas.

    Twins: a single head does; GATv2 has one favourite.
    """
    one, four, v2 = lab.simulate(
        lookup, setting, replace(setting, n_heads=4), replace(setting, score="gatv2", n_heads=1)
    )
    favourites = identical(
        four["static"][:, -1], np.ones(four.n), rounding=4, twin=Twin.of("GATv2", a=v2["static"][:, -1])
    )
    fit = share(
        four["train_nodes"][:, -1] == 1,
        at_least=0.25,
        twin=Twin.of("a single head", successes=one["train_nodes"][:, -1] == 1),
        null=four["train_nodes"][:, 0] == 1,
    )
    return all_of(favourites.named("one favourite each"), fit.named("fit"))


def _accuracies(setting: LookupSetting, lab: Lab) -> list[np.ndarray]:
    """Accuracy on training graphs ``(replica, record)`` of one head, four heads and GATv2."""
    settings = setting, replace(setting, n_heads=4), replace(setting, score="gatv2")
    return [runs["train_nodes"] for runs in lab.simulate(lookup, *settings)]
