"""Triton kernels of the family "f over g": forward with running level, and a recomputing backward in two kernels.

Importing this module imports triton if it is there; ``gpu`` does so only when it is used. Conventions that keep the
kernels exact and free of spills: products at full precision ("ieee") with operands in the input type; head widths
padded to powers of two of at least 16 by masked loads; scalars loaded from one-element tensors of the accumulator type;
keys along the rows in the dK/dV kernel, so that its products need no transposed operand. ``EMULATE`` widens 16-bit
operands after rounding them: the interpreter computes 16-bit types wrongly.

PACKED problems share a program: its rows are (problem, query) pairs in memory order, or (problem, key) pairs in the dK/dV
kernel, and every pair of a row with one of its own problem's columns is a sum over the width of gathered operands
(``gathered_scores``, ``gathered_sum``). No product reaches from one problem to another, so a diverged replica leaves its
neighbours alone. It is for single queries and short contexts, where a product would pad 16 rows with zeros.

Row factors saved for the backward pass: the level m and u = 1/Z. A bias is (problem, query, key); its gradient is written by
the dQ kernel, which visits every pair that has one. With STATS the forward kernel also writes the record of
``gpu_statistics``, and the others add what the cotangents of the statistics contribute. The score maps are in ``maps``.
"""

from __future__ import annotations

from attnlab.kernels.attention.gpu.jit import jit, tl
from attnlab.kernels.attention.gpu.maps import (
    constant,
    level,
    level_next,
    level_start,
    log_level,
    numerators,
    rescale,
    slopes,
)
from attnlab.kernels.attention.gpu.statistics import add_tile, slope_of_statistics, store_record


@jit
def product(a, b, LOW: tl.constexpr, ACC: tl.constexpr, EMULATE: tl.constexpr):
    a = a.to(LOW)
    b = b.to(LOW)
    if EMULATE:
        a = a.to(ACC)
        b = b.to(ACC)
    return tl.dot(a, b, input_precision="ieee", out_dtype=ACC)


@jit
def tile(base, rows, inside, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    cols = tl.arange(0, PADDED)
    return tl.load(
        base + rows[:, None] * WIDTH + cols[None, :], mask=inside[:, None] & (cols[None, :] < WIDTH), other=0.0
    )


@jit
def store_tile(base, rows, inside, x, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    cols = tl.arange(0, PADDED)
    tl.store(
        base + rows[:, None] * WIDTH + cols[None, :],
        x.to(base.dtype.element_ty),
        mask=inside[:, None] & (cols[None, :] < WIDTH),
    )


@jit
def gathered_scores(a, rows, inside, b, pairs, visible, WIDTH: tl.constexpr, ACC: tl.constexpr):
    """Inner products of row r of a with row pairs[r, j] of b."""
    s = tl.zeros([pairs.shape[0], pairs.shape[1]], ACC)
    for c in tl.static_range(WIDTH):
        x = tl.load(a + rows * WIDTH + c, mask=inside, other=0.0).to(ACC)
        s += x[:, None] * tl.load(b + pairs * WIDTH + c, mask=visible, other=0.0).to(ACC)
    return s


@jit
def gathered_sum(w, b, pairs, visible, WIDTH: tl.constexpr, PADDED: tl.constexpr, ACC: tl.constexpr):
    """Sum over j of w[r, j] times row pairs[r, j] of b, as a tile (row, PADDED)."""
    cols = tl.arange(0, PADDED)
    found = tl.zeros([pairs.shape[0], PADDED], ACC)
    for c in tl.static_range(WIDTH):
        x = tl.sum(w * tl.load(b + pairs * WIDTH + c, mask=visible, other=0.0).to(ACC), 1)
        found += tl.where(cols[None, :] == c, x[:, None], 0.0)
    return found


@jit
def seen(inside, queries, keys, n_q, n_k, mask, CAUSAL: tl.constexpr, MASKED: tl.constexpr):
    """Visible pairs for index tiles that broadcast against each other, of those inside."""
    visible = inside & (queries < n_q) & (keys < n_k)
    if CAUSAL:
        visible = visible & (keys <= queries + (n_k - n_q))
    if MASKED:
        visible = visible & (tl.load(mask + queries * n_k + keys, mask=visible, other=0) != 0)
    return visible


@jit
def with_bias(s, visible, bias, rows, keys, n_k):
    """Logits plus the bias (problem and query, key), and the pairs that a bias of minus infinity leaves visible."""
    b = tl.load(bias + rows * n_k + keys, mask=visible, other=0.0).to(s.dtype)
    visible = visible & (b != float("-inf"))  # NaN is visible: it has to be seen
    return s + tl.where(visible, b, 0.0), visible


@jit
def my_rows(n_problems, n, n_other, BLOCK: tl.constexpr, PACKED: tl.constexpr):
    """Rows of this program: (base, row) whose sum is the row in memory, its place in its problem, whether it exists, the
    first row of its problem on the other side, and its number among the blocks of its problem; bases are numbers, and so is
    that first row unless problems are packed. The grid has one axis, the only one that goes beyond 65,535."""
    if PACKED:
        base = 0
        row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = row < tl.full([], n_problems, tl.int64) * n
        other = row // n * n_other
        place = (row % n).to(tl.int32)
        block = 0
    else:
        n_blocks = (n + BLOCK - 1) // BLOCK
        problem = (tl.program_id(0) // n_blocks).to(tl.int64)
        block = tl.program_id(0) % n_blocks
        base = problem * n
        row = block * BLOCK + tl.arange(0, BLOCK)
        inside = row < n
        other = problem * n_other
        place = row
    return base, row, place, inside, other, block


@jit
def forward_kernel(
    q,
    k,
    v,
    bias,
    mask,
    scalars,
    o,
    rows_m,
    rows_u,
    in_mass,
    record,
    n_problems,
    n_q,
    n_k,
    D: tl.constexpr,
    DV: tl.constexpr,
    DP: tl.constexpr,
    DVP: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    MAP: tl.constexpr,
    P: tl.constexpr,
    BIAS: tl.constexpr,
    STATS: tl.constexpr,
    CAUSAL: tl.constexpr,
    MASKED: tl.constexpr,
    PACKED: tl.constexpr,
    LOW: tl.constexpr,
    ACC: tl.constexpr,
    EMULATE: tl.constexpr,
):
    base, row, queries, inside, other, block = my_rows(n_problems, n_q, n_k, BM, PACKED)
    scale = tl.load(scalars)
    parameter = tl.load(scalars + 1)
    if not PACKED:
        Q = tile(q + base * D, row, inside, D, DP)
    m = level_start(tl.zeros([BM], ACC), parameter, MAP)
    z = tl.zeros([BM], ACC)
    count = tl.zeros([BM], ACC)
    acc = tl.zeros([BM, DVP], ACC)
    if STATS:
        row_sum = tl.zeros([BM], ACC)
        mass = tl.zeros([BM], ACC)
        square = tl.zeros([BM], ACC)
        product_log = tl.zeros([BM], ACC)
        top = tl.zeros([BM], ACC)
        top_key = tl.zeros([BM], ACC) - 1.0
        total = tl.zeros([BM], ACC)
        mean_w = tl.zeros([BM], ACC)
        deviation_w = tl.zeros([BM], ACC)
        seen_keys = tl.zeros([BM], ACC)
        mean = tl.zeros([BM], ACC)
        deviation = tl.zeros([BM], ACC)
    last = n_k
    if CAUSAL and not PACKED:
        last = tl.minimum(n_k, tl.maximum((block + 1) * BM + (n_k - n_q), 0))
    for start in range(0, last, BN):
        keys = start + tl.arange(0, BN)
        visible = seen(inside[:, None], queries[:, None], keys[None, :], n_q, n_k, mask, CAUSAL, MASKED)
        if PACKED:
            pairs = other[:, None] + keys[None, :]
            s = gathered_scores(q, row, inside, k, pairs, visible, D, ACC) * scale
        else:
            K = tile(k + other * D, keys, keys < n_k, D, DP)
            V = tile(v + other * DV, keys, keys < n_k, DV, DVP)
            s = product(Q, tl.trans(K), LOW, ACC, EMULATE) * scale
        if BIAS:
            s, visible = with_bias(s, visible, bias + base * n_k, row[:, None], keys[None, :], n_k)
        m_new = level_next(m, s, visible, MAP)
        safe = level(m_new, MAP)
        f, g = numerators(tl.where(visible, s, 0.0), safe[:, None], MAP, P)
        f = tl.where(visible, f, 0.0)
        g = tl.where(visible, g, 0.0)
        r = rescale(m, m_new, MAP, P)
        z = z * r
        acc = acc * r[:, None]
        z += tl.sum(g, 1)
        count += tl.sum(tl.where(visible, 1.0, 0.0).to(ACC), 1)
        if PACKED:
            acc += gathered_sum(f, v, pairs, visible, DV, DVP, ACC)
        else:
            acc += product(f, V, LOW, ACC, EMULATE)
        if STATS:
            chosen = tl.load(in_mass + keys, mask=keys < n_k, other=0) != 0
            (
                row_sum,
                mass,
                square,
                product_log,
                top,
                top_key,
                total,
                mean_w,
                deviation_w,
                seen_keys,
                mean,
                deviation,
            ) = add_tile(
                r,
                f,
                s,
                visible,
                chosen,
                keys,
                n_k,
                row_sum,
                mass,
                square,
                product_log,
                top,
                top_key,
                total,
                mean_w,
                deviation_w,
                seen_keys,
                mean,
                deviation,
            )
        m = m_new
    safe = level(m, MAP)
    z += constant(parameter, safe, count, MAP)
    u = tl.where(z == 0, 0.0, 1.0 / tl.where(z == 0, 1.0, z))
    store_tile(o + base * DV, row, inside, acc * u[:, None], DV, DVP)
    tl.store(rows_m + base + row, safe, mask=inside)
    tl.store(rows_u + base + row, u, mask=inside)
    if STATS:
        log_z = tl.where(z == 0, float("-inf"), tl.log(tl.where(z == 0, 1.0, z)) + log_level(safe, MAP, P))
        stride = tl.full([], n_problems, tl.int64) * n_q
        store_record(
            record + base + row,
            stride,
            log_z,
            u,
            inside,
            row_sum,
            mass,
            square,
            product_log,
            top,
            top_key,
            total,
            mean_w,
            deviation_w,
            seen_keys,
            mean,
            deviation,
        )


@jit
def dq_kernel(
    q,
    k,
    v,
    g,
    bias,
    mask,
    scalars,
    rows_m,
    rows_u,
    rows_delta,
    in_mass,
    slopes_of,
    dq,
    db,
    n_problems,
    n_q,
    n_k,
    D: tl.constexpr,
    DV: tl.constexpr,
    DP: tl.constexpr,
    DVP: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    MAP: tl.constexpr,
    P: tl.constexpr,
    BIAS: tl.constexpr,
    WANT_DB: tl.constexpr,
    STATS: tl.constexpr,
    CAUSAL: tl.constexpr,
    MASKED: tl.constexpr,
    PACKED: tl.constexpr,
    LOW: tl.constexpr,
    ACC: tl.constexpr,
    EMULATE: tl.constexpr,
):
    base, row, queries, inside, other, block = my_rows(n_problems, n_q, n_k, BM, PACKED)
    stride = tl.full([], n_problems, tl.int64) * n_q
    scale = tl.load(scalars)
    if not PACKED:
        Q = tile(q + base * D, row, inside, D, DP)
        G = tile(g + base * DV, row, inside, DV, DVP)
    m = tl.load(rows_m + base + row, mask=inside, other=1.0)
    u = tl.load(rows_u + base + row, mask=inside, other=0.0)
    delta = tl.load(rows_delta + base + row, mask=inside, other=0.0)
    acc = tl.zeros([BM, DP], ACC)
    last = n_k
    if CAUSAL and not PACKED:
        last = tl.minimum(n_k, tl.maximum((block + 1) * BM + (n_k - n_q), 0))
    for start in range(0, last, BN):
        keys = start + tl.arange(0, BN)
        visible = seen(inside[:, None], queries[:, None], keys[None, :], n_q, n_k, mask, CAUSAL, MASKED)
        if PACKED:
            pairs = other[:, None] + keys[None, :]
            s = gathered_scores(q, row, inside, k, pairs, visible, D, ACC) * scale
            dp = gathered_scores(g, row, inside, v, pairs, visible, DV, ACC)
        else:
            K = tile(k + other * D, keys, keys < n_k, D, DP)
            V = tile(v + other * DV, keys, keys < n_k, DV, DVP)
            s = product(Q, tl.trans(K), LOW, ACC, EMULATE) * scale
            dp = product(G, tl.trans(V), LOW, ACC, EMULATE)
        if BIAS:
            s, visible = with_bias(s, visible, bias + base * n_k, row[:, None], keys[None, :], n_k)
        s = tl.where(visible, s, 0.0)
        f1, g1 = slopes(s, m[:, None], MAP, P)
        ds = tl.where(visible, (f1 * dp - g1 * delta[:, None]) * u[:, None], 0.0)
        if STATS:
            f, _ = numerators(s, m[:, None], MAP, P)
            chosen = tl.load(in_mass + keys, mask=keys < n_k, other=0) != 0
            at = slopes_of + base + row[:, None]
            more = slope_of_statistics(at, stride, inside[:, None], keys[None, :], chosen[None, :], s, f, f1, g1)
            ds += tl.where(visible, more, 0.0)
        if PACKED:
            acc += gathered_sum(ds, k, pairs, visible, D, DP, ACC)
        else:
            acc += product(ds, K, LOW, ACC, EMULATE)
        if WANT_DB:
            tl.store(db + base * n_k + row[:, None] * n_k + keys[None, :], ds.to(db.dtype.element_ty), mask=visible)
    store_tile(dq + base * D, row, inside, acc * scale, D, DP)


@jit
def dkv_kernel(
    q,
    k,
    v,
    g,
    bias,
    mask,
    scalars,
    rows_m,
    rows_u,
    rows_delta,
    in_mass,
    slopes_of,
    dk,
    dv,
    n_problems,
    n_q,
    n_k,
    D: tl.constexpr,
    DV: tl.constexpr,
    DP: tl.constexpr,
    DVP: tl.constexpr,
    BM: tl.constexpr,
    BN: tl.constexpr,
    MAP: tl.constexpr,
    P: tl.constexpr,
    BIAS: tl.constexpr,
    STATS: tl.constexpr,
    CAUSAL: tl.constexpr,
    MASKED: tl.constexpr,
    PACKED: tl.constexpr,
    LOW: tl.constexpr,
    ACC: tl.constexpr,
    EMULATE: tl.constexpr,
):
    base, row, keys, inside, other, block = my_rows(n_problems, n_k, n_q, BN, PACKED)
    stride = tl.full([], n_problems, tl.int64) * n_q
    scale = tl.load(scalars)
    if not PACKED:
        K = tile(k + base * D, row, inside, D, DP)
        V = tile(v + base * DV, row, inside, DV, DVP)
    acc_k = tl.zeros([BN, DP], ACC)
    acc_v = tl.zeros([BN, DVP], ACC)
    if STATS:
        chosen = tl.load(in_mass + keys, mask=inside, other=0) != 0
    begin = 0
    if CAUSAL and not PACKED:
        begin = tl.maximum(block * BN - (n_k - n_q), 0) // BM * BM
    for start in range(begin, n_q, BM):
        queries = start + tl.arange(0, BM)
        there = (queries < n_q)[None, :]
        if PACKED:
            pairs = other[:, None] + queries[None, :]
            there = inside[:, None] & there
            at = 0
        else:
            pairs = queries[None, :]
            at = other
            Q = tile(q + at * D, queries, queries < n_q, D, DP)
            G = tile(g + at * DV, queries, queries < n_q, DV, DVP)
        m = tl.load(rows_m + at + pairs, mask=there, other=1.0)
        u = tl.load(rows_u + at + pairs, mask=there, other=0.0)
        delta = tl.load(rows_delta + at + pairs, mask=there, other=0.0)
        visible = seen(inside[:, None], queries[None, :], keys[:, None], n_q, n_k, mask, CAUSAL, MASKED)
        if PACKED:
            s = gathered_scores(k, row, inside, q, pairs, visible, D, ACC) * scale
            dp = gathered_scores(v, row, inside, g, pairs, visible, DV, ACC)
        else:
            s = product(K, tl.trans(Q), LOW, ACC, EMULATE) * scale
            dp = product(V, tl.trans(G), LOW, ACC, EMULATE)
        if BIAS:
            s, visible = with_bias(s, visible, bias + at * n_k, pairs, keys[:, None], n_k)
        s = tl.where(visible, s, 0.0)
        f, _ = numerators(s, m, MAP, P)
        w = tl.where(visible, f * u, 0.0)
        f1, g1 = slopes(s, m, MAP, P)
        ds = tl.where(visible, (f1 * dp - g1 * delta) * u, 0.0)
        if STATS:
            more = slope_of_statistics(
                slopes_of + at + pairs, stride, there, keys[:, None], chosen[:, None], s, f, f1, g1
            )
            ds += tl.where(visible, more, 0.0)
        if PACKED:
            acc_v += gathered_sum(w, g, pairs, visible, DV, DVP, ACC)
            acc_k += gathered_sum(ds, q, pairs, visible, D, DP, ACC)
        else:
            acc_v += product(w, G, LOW, ACC, EMULATE)
            acc_k += product(ds, Q, LOW, ACC, EMULATE)
    store_tile(dk + base * D, row, inside, acc_k * scale, D, DP)
    store_tile(dv + base * DV, row, inside, acc_v, DV, DVP)
