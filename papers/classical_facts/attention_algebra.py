"""Facts that hold as identities: what attention does not depend on, and how it may be regrouped."""

from __future__ import annotations

import torch

from attnlab.analysis import Matrix, Permutation, Real, Twin, Vector, for_all
from attnlab.analysis.theorems.statement.claim import Claim as ForAll
from attnlab.papers.classical_facts.attention_output import VALUE_DIM, output
from attnlab.papers.classical_facts.measures import self_attention
from attnlab.papers.classical_facts.setting import Setting
from attnlab.theory.softmax_attention import online_softmax as theory


def permutation_equivariance(setting: Setting) -> dict[str, ForAll]:
    """Self-attention commutes with every permutation of its tokens."""

    def causal(x):
        scores = x @ x.mT
        hidden = torch.ones(x.shape[0], x.shape[0], dtype=torch.float64).triu(1)
        return (scores - 50 * hidden).softmax(-1) @ x

    def statement(n, within):
        return for_all(x=Matrix("n", VALUE_DIM, -2, 2), pi=Permutation("n")).identity(
            lambda x, pi: self_attention(x[pi]),
            equals=lambda x, pi: self_attention(x)[pi],
            within=within,
            sizes={"n": n},
            twin=Twin.of("with a causal mask", left=lambda x, pi: causal(x[pi]), equals=lambda x, pi: causal(x)[pi]),
        )

    return {
        "searched": statement(setting.dim, 1e-10),
        "symbolic": for_all(x=Vector(2), v=Vector(2), pi=Permutation(2)).identity(
            lambda x, v, pi: output(x[pi], v[pi]),
            equals=output,
            twin=Twin.of("keys alone", left=lambda x, v, pi: output(x[pi], v)),
        ),
    }


def merging(setting: Setting) -> dict[str, ForAll]:
    """Outputs of blocks of keys, merged with their log weights in any grouping, give the output of all keys."""

    def whole(x, v):
        return output(x, v)

    def in_three(x, v, weighted=1.0):
        n = x.shape[0]
        a, b = n // 3, (2 * n) // 3
        pieces = [(x[s].logsumexp(-1), output(x[s], v[s])) for s in (slice(0, a), slice(a, b), slice(b, n))]
        (l1, o1), (l2, o2), (l3, o3) = pieces
        l23, o23 = theory.merged_log_weight(l2, l3), theory.merged_output(l2, o2, l3, o3)
        return theory.merged_output(weighted * l1, o1, weighted * l23, o23)

    def left(a, b, c, u, v, w):
        return theory.merged_output(theory.merged_log_weight(a, b), theory.merged_output(a, u, b, v), c, w)

    def right(a, b, c, u, v, w):
        return theory.merged_output(a, u, theory.merged_log_weight(b, c), theory.merged_output(b, v, c, w))

    scalars = {name: Real() for name in "abcuvw"}
    return {
        "searched": for_all(x=Vector("n", -4, 4), v=Matrix("n", VALUE_DIM, -2, 2)).identity(
            whole,
            equals=in_three,
            within=1e-10,
            sizes={"n": max(3, setting.dim)},
            twin=Twin.of("without weights", equals=lambda x, v: in_three(x, v, 0.0)),
        ),
        "symbolic": for_all(**scalars).identity(
            left,
            equals=right,
            twin=Twin.of(
                "outputs merged alike",
                left=lambda a, b, c, u, v, w: theory.merged_output(a, theory.merged_output(a, u, b, v), c, w),
            ),
        ),
    }


def linear_recurrence(setting: Setting) -> dict[str, ForAll]:
    """Causal attention without softmax equals a recurrence whose state is one matrix."""

    def parallel(q, k, v):
        n = q.shape[0]
        seen = torch.ones(n, n, dtype=torch.float64).tril()
        return ((q @ k.mT) * seen) @ v

    def recurrent(q, k, v, decay=1.0):
        state, rows = 0 * k[0][:, None] * v[0][None, :], []
        for t in range(q.shape[0]):
            state = decay * state + k[t][:, None] * v[t][None, :]
            rows.append(q[t] @ state)
        return torch.stack(rows)

    def statement(n, ends, within):
        d = VALUE_DIM
        return for_all(
            q=Matrix("n", d, -ends, ends), k=Matrix("n", d, -ends, ends), v=Matrix("n", d, -ends, ends)
        ).identity(
            parallel,
            equals=recurrent,
            within=within,
            sizes={"n": n},
            twin=Twin.of("a state that decays", equals=lambda q, k, v: recurrent(q, k, v, 0.99)),
        )

    return {"searched": statement(setting.dim, 2, 1e-10), "symbolic": statement(3, float("inf"), 0.0)}


def kernel_smoothing(setting: Setting) -> dict[str, ForAll]:
    """For keys of one length softmax attention is Gaussian kernel smoothing (Nadaraya-Watson) of the values."""

    def keys(z):
        return z / (z * z).sum(-1, keepdim=True).sqrt()

    def smoothed(q, k, v):
        return output(-((q - k) ** 2).sum(-1) / 2, v)

    def opposite(q, r, w):
        return torch.stack([q * r, -q * w]), torch.stack([-((q - r) ** 2) / 2, -((q + w) ** 2) / 2])

    d, n = VALUE_DIM, setting.dim
    return {
        "searched": for_all(q=Vector(d, -2, 2), z=Matrix("n", d, 0.1, 2), v=Vector("n", -2, 2)).identity(
            lambda q, z, v: output(keys(z) @ q, v),
            equals=lambda q, z, v: smoothed(q, keys(z), v),
            within=1e-10,
            sizes={"n": n},
            twin=Twin.of(
                "keys of any length", left=lambda q, z, v: output(z @ q, v), equals=lambda q, z, v: smoothed(q, z, v)
            ),
        ),
        "symbolic": for_all(q=Real(), r=Real(), v=Vector(2)).identity(
            lambda q, r, v: output(opposite(q, r, r)[0], v),
            equals=lambda q, r, v: output(opposite(q, r, r)[1], v),
            twin=Twin.of(
                "keys r and -2 r",
                left=lambda q, r, v: output(opposite(q, r, 2 * r)[0], v),
                equals=lambda q, r, v: output(opposite(q, r, 2 * r)[1], v),
            ),
        ),
    }
