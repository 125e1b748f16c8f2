/* Attention of the family "f over g" with sequences in the lanes of a vector: forward, backward, second order.
 *
 * Compile-time: D (query/key width), DV (value width), REAL32, MAP (score map, below), PASS (1: first order, 2: second). One problem is one (replica, batch,
 * head) item; LANES problems are packed, problem-minor, into scratch and processed together: no horizontal sums, no
 * masked lanes, exact loop bounds for every mask. Rows are recomputed in every pass, nothing but q, k, v is saved.
 *
 *   W_ij = f(s_ij) / Z_i,  Z_i = c_i + sum_j g(s_ij),  o_i = sum_j W_ij v_j,  s_ij = scale q_i.k_j + bias_ij
 *   ds_ij = (f' dP_ij - g' delta_i) / Z_i,  dP_ij = G_i.v_j,  delta_i = sum_j W_ij dP_ij
 *
 * Second order, for tangents (qt, kt, vt, bt): Phi = <G, o'(tangents)> with a_ij = ds/dt, b_ij = G_i.vt_j, u = 1/Z,
 * X = sum f' a dP, F = sum f dP, A = sum g' a, B = sum f b:
 *   Phi_i = u X - u^2 F A + u B, and its derivative in s_ij is
 *   u f'' a dP + u f' b - u^2 f' dP A - u^2 F g'' a - u^2 g' (X + B) + 2 u^3 g' F A;
 * its derivative in G_i is the forward-mode derivative of o_i.
 */
#include "score_maps.h"
const int64_t lanes = LANES; /* problems that are computed together */

NOINLINE void pack(const view *x, int64_t p, int64_t n, int64_t rows, int64_t cols, vec *dst) {
    const real *src[LANES];
    for (int l = 0; l < LANES; l++) src[l] = x->base + x->offset[p + (l < n ? l : n - 1)];
    if (x->col == 1 && (x->row == cols || rows == 1)) {
        pack_flat(src, rows * cols, dst);
        return;
    }
    for (int64_t i = 0; i < rows; i++) {
        const real *at[LANES];
        for (int l = 0; l < LANES; l++) at[l] = src[l] + i * x->row;
        if (x->col == 1) {
            pack_flat(at, cols, dst + i * cols);
        } else {
            TALLY(bytes_read, cols * (int64_t)sizeof(vec));
            for (int64_t c = 0; c < cols; c++)
                for (int l = 0; l < LANES; l++) ((real *)(dst + i * cols + c))[l] = at[l][c * x->col];
        }
    }
}

/* outputs are always contiguous within a problem */
NOINLINE void unpack(const vec *src, int64_t p, int64_t n, int64_t count, const view *x) {
    real *dst[LANES];
    for (int l = 0; l < n; l++) dst[l] = x->base + x->offset[p + l];
    unpack_flat(src, count, dst, (int)n);
}

/* ---- one row ---- */
typedef struct {
    int64_t n;           /* visible keys, for every lane alike */
    const int32_t *cols; /* their indices, or NULL for first .. first + n - 1 */
    int64_t first;
    vec m, inv_z, z, n_visible;
} row;
#define KEY(r, t) ((r)->cols ? (int64_t)(r)->cols[t] : (r)->first + (t))

INLINE row open_row(const task *t, int64_t i) {
    row r;
    r.first = t->first[i], r.n = t->last[i] - t->first[i];
    r.cols = t->cols ? t->cols + r.first : NULL;
    return r;
}
INLINE vec dot(const vec *a, const vec *b, int n) {
    FMA(n);
    vec x = a[0] * b[0], y = splat(0);
    UNROLL for (int c = 1; c + 1 < n; c += 2) x += a[c] * b[c], y += a[c + 1] * b[c + 1];
    if (n % 2 == 0) x += a[n - 1] * b[n - 1];
    return x + y;
}
/* a copy of x with zero in the lanes where a pair is hidden: there infinity and NaN must not meet the weight 0 */
INLINE const vec *hide(ivec dead, const vec *x, int n, vec *copy) {
    for (int c = 0; c < n; c++) copy[c] = pick(dead, splat(0), x[c]);
    return copy;
}
/* logits of a row and its level */
INLINE void logits(const task *t, row *r, const vec *q, const vec *K, const vec *bias, vec *s) {
    vec m = level_start(t), count = splat(0);
    const real scale = (real)t->scale;
    vec qs[D];
    for (int c = 0; c < D; c++) qs[c] = q[c] * scale;
    if (!bias) {
        for (int64_t j = 0; j < r->n; j++) {
            s[j] = dot(qs, K + KEY(r, j) * D, D);
            m = level_next(m, s[j]);
        }
        count = splat((real)r->n);
    } else {
        for (int64_t j = 0; j < r->n; j++) {
            const vec b = bias[KEY(r, j)];
            vec x = dot(qs, K + KEY(r, j) * D, D) + b;
            x = pick(b == (real)-INFINITY, b, x); /* hidden, whatever the product is: NaN - infinity is NaN */
            ivec dead = x == (real)-INFINITY;
            s[j] = x;
            m = pick(dead, m, level_next(m, x));
            count += pick(dead, splat(0), splat(1));
        }
    }
    r->n_visible = count;
    r->m = level_end(m);
}
INLINE void close_row(const task *t, row *r, vec sum) {
    r->z = constant(t, r->m, r->n_visible) + sum;
    r->inv_z = pick(r->z == 0, splat(0), 1 / pick(r->z == 0, splat(1), r->z));
}

#if PASS == 1
/* -|w| ln|w| summed is part of the entropy; weights that underflow count as nothing */
INLINE vec safe_log(vec a) { return pick(a >= TINIEST, vlog(pick(a >= TINIEST, a, splat(1))), splat(0)); }
#endif

#if PLAIN && PASS == 1
/* statistics of a softmax row (without a sink) from its logits s and numerators e = exp(s - m) */
NOINLINE void write_stats(const task *t, const row *r, const vec *s, const vec *e, vec *out) {
    vec x1 = splat(0), x2 = splat(0), top = splat(0), square = splat(0), mass = splat(0), mean = splat(0), var = splat(0);
    const vec n = pick(r->n_visible > 0, r->n_visible, splat(1)), zero = splat(0), empty = splat(-INFINITY);
    for (int64_t j = 0; j < r->n; j++) {
        ivec dead = s[j] == (real)-INFINITY;
        vec p = e[j] * r->inv_z, d = pick(dead, zero, s[j] - r->m);
        x1 += p * d, square += p * p, mean += d;
        top = vmax(p, top);
        if (t->in_mass && t->in_mass[KEY(r, j)]) mass += p;
    }
    mean /= n;
    for (int64_t j = 0; j < r->n; j++) {
        vec d = s[j] - r->m, p = e[j] * r->inv_z;
        ivec dead = s[j] == (real)-INFINITY;
        x2 += pick(dead, zero, p * (d - x1) * (d - x1));
        var += pick(dead, zero, (d - mean) * (d - mean));
    }
    ivec none = r->z == 0;
    vec log_z = vlog(pick(none, splat(1), r->z));
    ivec unseen = r->n_visible == 0;
    out[S_LSE] = pick(none, empty, log_z + r->m);
    out[S_ENTROPY] = pick(none, zero, log_z - x1);
    out[S_MAX] = top, out[S_SQUARE] = square, out[S_MASS] = mass;
    out[S_MEAN] = pick(unseen, zero, mean + r->m), out[S_VARIANCE] = var / n;
    out[S_WMEAN] = pick(none, zero, x1 + r->m), out[S_WVARIANCE] = x2;
    out[S_ROW_SUM] = pick(none, zero, splat(1));
    for (int c = 0; c < N_STATS; c++) out[c] = pick(x1 == x1, out[c], x1); /* NaN in a logit is NaN in all of them */
}
/* what the cotangents w of the statistics add to ds of a row */
NOINLINE void stats_backward(const task *t, const row *r, const vec *s, const vec *e, const vec *w, vec *ds) {
    vec x1 = splat(0), x2 = splat(0), top = splat(0), ties = splat(0), square = splat(0), mass = splat(0), mean = splat(0);
    const vec n = pick(r->n_visible > 0, r->n_visible, splat(1)), zero = splat(0);
    for (int64_t j = 0; j < r->n; j++) {
        vec p = e[j] * r->inv_z, d = pick(s[j] == (real)-INFINITY, zero, s[j] - r->m);
        x1 += p * d, square += p * p, mean += d;
        top = vmax(p, top);
        if (t->in_mass && t->in_mass[KEY(r, j)]) mass += p;
    }
    mean /= n;
    for (int64_t j = 0; j < r->n; j++) {
        vec d = pick(s[j] == (real)-INFINITY, zero, s[j] - r->m - x1);
        vec p = e[j] * r->inv_z;
        x2 += p * d * d;
        ties += pick(p == top, splat(1), zero);
    }
    ties = pick(ties > 0, 1 / ties, zero);
    for (int64_t j = 0; j < r->n; j++) {
        ivec dead = s[j] == (real)-INFINITY;
        vec p = e[j] * r->inv_z, raw = pick(dead, zero, s[j] - r->m), d = raw - x1;
        vec in = t->in_mass && t->in_mass[KEY(r, j)] ? splat(1) : zero;
        vec x = p * (w[S_LSE] - w[S_ENTROPY] * d + 2 * w[S_SQUARE] * (p - square) + w[S_WMEAN] * (1 + d)
                     + w[S_WVARIANCE] * (d * d + 2 * d - x2) - w[S_MAX] * top + w[S_MASS] * (in - mass));
        x += pick(p == top, w[S_MAX] * top * ties, zero);
        x += (w[S_MEAN] + 2 * w[S_VARIANCE] * (raw - mean)) / n;
        ds[j] += pick(dead, zero, x);
    }
}
#elif PASS == 1
/* the sums over a row that statistics of any map are made of; w = f/Z, a = |w|, pi = a / sum a */
typedef struct {
    vec n, total, inv_total, row_sum, mass, top, square, mean, wmean;
} sums;
INLINE sums sum_row(const task *t, const row *r, const vec *s, const vec *f) {
    const vec zero = splat(0);
    sums x = {pick(r->n_visible > 0, r->n_visible, splat(1)), zero, zero, zero, zero, zero, zero, zero, zero};
    for (int64_t j = 0; j < r->n; j++) {
        const vec w = f[j] * r->inv_z, a = vabs(w), logit = pick(s[j] == (real)-INFINITY, zero, s[j]);
        x.total += a, x.row_sum += w, x.top = vmax(a, x.top);
        if (t->in_mass && t->in_mass[KEY(r, j)]) x.mass += w;
        x.mean += logit, x.wmean += a * logit;
    }
    x.inv_total = pick(x.total > 0, 1 / pick(x.total > 0, x.total, splat(1)), zero);
    x.mean /= x.n, x.wmean *= x.inv_total;
    for (int64_t j = 0; j < r->n; j++) {
        const vec pi = vabs(f[j] * r->inv_z) * x.inv_total;
        x.square += pi * pi;
    }
    return x;
}
NOINLINE void write_stats(const task *t, const row *r, const vec *s, const vec *f, vec *out) {
    const vec zero = splat(0);
    const sums x = sum_row(t, r, s, f);
    vec entropy = zero, var = zero, wvar = zero;
    for (int64_t j = 0; j < r->n; j++) {
        const vec pi = vabs(f[j] * r->inv_z) * x.inv_total, d = s[j] - x.mean, wd = s[j] - x.wmean;
        ivec dead = s[j] == (real)-INFINITY;
        entropy -= pi * safe_log(pi);
        var += pick(dead, zero, d * d), wvar += pick(dead, zero, pi * wd * wd);
    }
    ivec none = r->z == 0;
    out[S_LSE] = pick(none, splat(-INFINITY), vlog(pick(none, splat(1), r->z)) + log_level(t, r->m));
    out[S_ENTROPY] = entropy, out[S_MAX] = x.top, out[S_SQUARE] = x.square, out[S_MASS] = x.mass, out[S_ROW_SUM] = x.row_sum;
    out[S_MEAN] = x.mean, out[S_VARIANCE] = var / x.n, out[S_WMEAN] = x.wmean, out[S_WVARIANCE] = wvar;
    for (int c = 0; c < N_STATS; c++) out[c] = pick(x.total == x.total, out[c], x.total);
}
/* Cotangents c of the statistics: dp receives the derivative in the weights, so that it goes on as that of the output does;
 * extra the direct derivative in the logits. d pi terms h: dL/da = (h - sum pi h) / sum a. */
NOINLINE void stats_backward(const task *t, const row *r, const vec *s, const vec *f, const vec *g1, const vec *c, vec *dp,
                             vec *extra) {
    const vec zero = splat(0);
    const sums x = sum_row(t, r, s, f);
    vec ties = zero, mean_h = zero;
    for (int64_t j = 0; j < r->n; j++) {
        const vec a = vabs(f[j] * r->inv_z), pi = a * x.inv_total, logit = pick(s[j] == (real)-INFINITY, zero, s[j]);
        const vec d = logit - x.wmean;
        ties += pick(a == x.top, splat(1), zero);
        extra[j] = 2 * c[S_SQUARE] * pi - c[S_ENTROPY] * safe_log(pi) + c[S_WMEAN] * logit + c[S_WVARIANCE] * d * d;
        mean_h += pi * extra[j];
    }
    ties = pick(x.top > 0, 1 / ties, zero);
    for (int64_t j = 0; j < r->n; j++) {
        const vec w = f[j] * r->inv_z, a = vabs(w), pi = a * x.inv_total;
        ivec dead = s[j] == (real)-INFINITY;
        const vec in = t->in_mass && t->in_mass[KEY(r, j)] ? splat(1) : zero;
        const vec da = (extra[j] - mean_h) * x.inv_total + pick(a == x.top, c[S_MAX] * ties, zero);
        dp[j] += pick(dead, zero, da * sign_of(w) + c[S_ROW_SUM] + c[S_MASS] * in);
        extra[j] = pick(dead, zero, c[S_WMEAN] * pi + 2 * c[S_WVARIANCE] * pi * (s[j] - x.wmean)
                        + (c[S_MEAN] + 2 * c[S_VARIANCE] * (s[j] - x.mean)) / x.n + c[S_LSE] * g1[j] * r->inv_z);
    }
}
#endif

#if PASS == 1
int forward(const task *t, int64_t p0, int64_t p1) {
    const int64_t nq = t->n_q, nk = t->n_k;
    vec *work = scratch(nk * (D + DV) + nq * (D + DV) + 4 * nk + nq * N_STATS + 8);
    if (!work) return NO_MEMORY;
    vec *K = work, *V = K + nk * D, *Q = V + nk * DV, *O = Q + nq * D, *s = O + nq * DV, *e = s + nk, *bias = e + nk;
    vec *columns = bias + nk, *stats = columns + nk; /* dv is where the sums over queries go, if they are wanted */
    for (int64_t p = p0; p < p1; p += LANES) {
        const int64_t n = p1 - p < LANES ? p1 - p : LANES;
        pack(&t->k, p, n, nk, D, K), pack(&t->v, p, n, nk, DV, V), pack(&t->q, p, n, nq, D, Q);
        const int careful = t->bias.base && !lanes_finite(V, nk * DV);
        memset(columns, 0, (size_t)nk * sizeof(vec));
        for (int64_t i = 0; i < nq; i++) {
            row r = open_row(t, i);
            if (t->bias.base) {
                view b = t->bias;
                b.base += i * b.row;
                pack(&b, p, n, 1, nk, bias);
            }
            logits(t, &r, Q + i * D, K, t->bias.base ? bias : NULL, s);
            vec sum = splat(0), acc[DV], shown[DV];
            for (int c = 0; c < DV; c++) acc[c] = splat(0);
            for (int64_t j = 0; j < r.n; j++) {
                terms x = map(t, s[j], r.m, 0);
                if (t->bias.base) x = nothing_if(s[j] == (real)-INFINITY, x);
                e[j] = x.f;
                sum += x.g;
                const vec *v = V + KEY(&r, j) * DV;
                if (careful) v = hide(s[j] == (real)-INFINITY, v, DV, shown);
                FMA(DV);
                for (int c = 0; c < DV; c++) acc[c] += x.f * v[c];
            }
            close_row(t, &r, sum);
            for (int c = 0; c < DV; c++) O[i * DV + c] = acc[c] * r.inv_z;
            if (t->dv.base)
                for (int64_t j = 0; j < r.n; j++)
                    columns[KEY(&r, j)] += pick(s[j] == (real)-INFINITY, splat(0), e[j] * r.inv_z);
            if (t->stats.base) write_stats(t, &r, s, e, stats + i * N_STATS);
        }
        if (t->dv.base) unpack(columns, p, n, nk, &t->dv);
        unpack(O, p, n, nq * DV, &t->o);
        if (t->stats.base) unpack(stats, p, n, nq * N_STATS, &t->stats);
    }
    free(work);
    return 0;
}

int backward(const task *t, int64_t p0, int64_t p1) {
    const int64_t nq = t->n_q, nk = t->n_k;
    const real scale = (real)t->scale;
    vec *work = scratch(2 * nk * (D + DV) + nq * (2 * D + DV + N_STATS) + 7 * nk + 8);
    if (!work) return NO_MEMORY;
    vec *K = work, *V = K + nk * D, *dK = V + nk * DV, *dV = dK + nk * D, *Q = dV + nk * DV, *dQ = Q + nq * D;
    vec *G = dQ + nq * D, *s = G + nq * DV, *f = s + nk, *f1 = f + nk, *g1 = f1 + nk, *dp = g1 + nk, *bias = dp + nk;
    vec *ds_all = bias + nk, *dstats = ds_all + nk;
    for (int64_t p = p0; p < p1; p += LANES) {
        const int64_t n = p1 - p < LANES ? p1 - p : LANES;
        pack(&t->k, p, n, nk, D, K), pack(&t->v, p, n, nk, DV, V), pack(&t->q, p, n, nq, D, Q);
        pack(&t->g, p, n, nq, DV, G);
        const int careful = t->bias.base && !(lanes_finite(K, nk * (D + DV)) && lanes_finite(Q, nq * D) && lanes_finite(G, nq * DV));
        if (t->dstats.base) pack(&t->dstats, p, n, nq, N_STATS, dstats);
        memset(dK, 0, (size_t)(nk * (D + DV)) * sizeof(vec));
        for (int64_t i = 0; i < nq; i++) {
            row r = open_row(t, i);
            if (t->bias.base) {
                view b = t->bias;
                b.base += i * b.row;
                pack(&b, p, n, 1, nk, bias);
            }
            logits(t, &r, Q + i * D, K, t->bias.base ? bias : NULL, s);
            vec q[D], G_i[DV], dq[D], sum = splat(0), delta = splat(0), shown[2 * (D + DV)];
            for (int c = 0; c < D; c++) q[c] = Q[i * D + c] * scale, dq[c] = splat(0);
            for (int c = 0; c < DV; c++) G_i[c] = G[i * DV + c];
            for (int64_t j = 0; j < r.n; j++) {
                terms x = map(t, s[j], r.m, 1);
                if (t->bias.base) x = nothing_if(s[j] == (real)-INFINITY, x);
                f[j] = x.f;
#if !PLAIN
                f1[j] = x.f1, g1[j] = x.g1;
#endif
                dp[j] = dot(G_i, V + KEY(&r, j) * DV, DV);
                if (careful) dp[j] = pick(s[j] == (real)-INFINITY, splat(0), dp[j]);
                sum += x.g;
                delta += x.f * dp[j];
            }
            close_row(t, &r, sum);
#if !PLAIN
            if (t->dstats.base) {
                stats_backward(t, &r, s, f, g1, dstats + i * N_STATS, dp, ds_all);
                delta = splat(0);
                for (int64_t j = 0; j < r.n; j++) delta += f[j] * dp[j];
            }
#endif
            delta *= r.inv_z;
            for (int64_t j = 0; j < r.n; j++) {
#if PLAIN
                ds_all[j] = f[j] * r.inv_z * (dp[j] - delta);
#else
                const vec ds = (f1[j] * dp[j] - g1[j] * delta) * r.inv_z;
                ds_all[j] = t->dstats.base ? ds + ds_all[j] : ds;
#endif
            }
#if PLAIN
            if (t->dstats.base) stats_backward(t, &r, s, f, dstats + i * N_STATS, ds_all);
#endif
            for (int64_t j = 0; j < r.n; j++) {
                const int64_t key = KEY(&r, j);
                vec w = f[j] * r.inv_z, ds = ds_all[j];
                const vec *restrict k = K + key * D, *restrict query = q, *restrict cotangent = G_i;
                if (careful) { /* nothing of a hidden pair may count, NaN or not */
                    const ivec dead = s[j] == (real)-INFINITY;
                    w = pick(dead, splat(0), w), ds_all[j] = ds = pick(dead, splat(0), ds);
                    k = hide(dead, k, D, shown), query = hide(dead, q, D, shown + D), cotangent = hide(dead, G_i, DV, shown + 2 * D);
                }
                vec *restrict dk = dK + key * D, *restrict dv = dV + key * DV;
                FMA(2 * D + DV);
                UNROLL for (int c = 0; c < DV; c++) dv[c] += w * cotangent[c];
                UNROLL for (int c = 0; c < D; c++) dk[c] += ds * query[c], dq[c] += ds * k[c];
            }
            for (int c = 0; c < D; c++) dQ[i * D + c] = dq[c] * scale;
            if (t->db.base) {
                memset(bias, 0, (size_t)nk * sizeof(vec));
                for (int64_t j = 0; j < r.n; j++) bias[KEY(&r, j)] = ds_all[j];
                view b = t->db;
                b.base += i * nk;
                unpack(bias, p, n, nk, &b);
            }
        }
        unpack(dQ, p, n, nq * D, &t->dq), unpack(dK, p, n, nk * D, &t->dk), unpack(dV, p, n, nk * DV, &t->dv);
    }
    free(work);
    return 0;
}

#else /* PASS == 2, built only when it is needed */
/* Forward mode (only t->o wanted) and the derivative of the first backward: o receives d Phi / dG = the tangent of the
 * output, dq, dk, dv, db those of Phi = <g, tangent of the output>. */
int second(const task *t, int64_t p0, int64_t p1) {
    const int64_t nq = t->n_q, nk = t->n_k;
    const real scale = (real)t->scale;
    const int full = t->dq.base != NULL;
    vec *work = scratch(3 * nk * (D + DV) + nq * (3 * D + 2 * DV) + 13 * nk + 8);
    if (!work) return NO_MEMORY;
    vec *K = work, *V = K + nk * D, *Kt = V + nk * DV, *Vt = Kt + nk * D, *dK = Vt + nk * DV, *dV = dK + nk * D;
    vec *Q = dV + nk * DV, *Qt = Q + nq * D, *dQ = Qt + nq * D, *G = dQ + nq * D, *O = G + nq * DV, *s = O + nq * DV;
    vec *f = s + nk, *f1 = f + nk, *f2 = f1 + nk, *g1 = f2 + nk, *g2 = g1 + nk, *a = g2 + nk, *dp = a + nk, *b = dp + nk;
    vec *bias = b + nk, *bias_t = bias + nk, *out = bias_t + nk;
    for (int64_t p = p0; p < p1; p += LANES) {
        const int64_t n = p1 - p < LANES ? p1 - p : LANES;
        pack(&t->k, p, n, nk, D, K), pack(&t->v, p, n, nk, DV, V), pack(&t->q, p, n, nq, D, Q);
        pack(&t->kt, p, n, nk, D, Kt), pack(&t->vt, p, n, nk, DV, Vt), pack(&t->qt, p, n, nq, D, Qt);
        if (full) pack(&t->g, p, n, nq, DV, G), memset(dK, 0, (size_t)(nk * (D + DV)) * sizeof(vec));
        int careful = 0;
        if (t->bias.base) {
            careful = !(lanes_finite(K, 2 * nk * (D + DV)) && lanes_finite(Q, 2 * nq * D));
            if (full) careful |= !lanes_finite(G, nq * DV);
        }
        for (int64_t i = 0; i < nq; i++) {
            row r = open_row(t, i);
            view line = t->bias;
            if (t->bias.base) line.base += i * line.row, pack(&line, p, n, 1, nk, bias);
            line = t->bt;
            if (t->bt.base) line.base += i * line.row, pack(&line, p, n, 1, nk, bias_t);
            logits(t, &r, Q + i * D, K, t->bias.base ? bias : NULL, s);
            vec sum = splat(0), A = splat(0), X = splat(0), F = splat(0), B = splat(0), dq[D], tangent[DV], shown[4 * D + 3 * DV];
            const vec *q = Q + i * D, *qt = Qt + i * D, *G_i = G + i * DV;
            for (int64_t j = 0; j < r.n; j++) {
                const int64_t key = KEY(&r, j);
                terms x = map(t, s[j], r.m, 2);
                if (t->bias.base) x = nothing_if(s[j] == (real)-INFINITY, x);
                f[j] = x.f, f1[j] = x.f1, f2[j] = x.f2, g1[j] = x.g1, g2[j] = x.g2;
                a[j] = scale * (dot(qt, K + key * D, D) + dot(q, Kt + key * D, D));
                const ivec dead = s[j] == (real)-INFINITY;
                if (t->bt.base) a[j] += pick(dead, splat(0), bias_t[key]);
                if (careful) a[j] = pick(dead, splat(0), a[j]);
                sum += x.g;
                A += x.g1 * a[j];
                if (full) {
                    dp[j] = dot(G_i, V + key * DV, DV), b[j] = dot(G_i, Vt + key * DV, DV);
                    if (careful) dp[j] = pick(dead, splat(0), dp[j]), b[j] = pick(dead, splat(0), b[j]);
                    X += x.f1 * a[j] * dp[j], F += x.f * dp[j], B += x.f * b[j];
                }
            }
            close_row(t, &r, sum);
            const vec u = r.inv_z, Au = A * u, Fu = F * u, rest = (2 * Fu * A - X - B) * u;
            for (int c = 0; c < DV; c++) tangent[c] = splat(0);
            for (int c = 0; c < D; c++) dq[c] = splat(0);
            for (int64_t j = 0; j < r.n; j++) {
                const int64_t key = KEY(&r, j);
                vec w = f[j] * u, wt = (f1[j] * a[j] - f[j] * Au) * u;
                const vec *v = V + key * DV, *vt = Vt + key * DV, *k = K + key * D, *kt = Kt + key * D;
                const vec *query = q, *query_t = qt, *cotangent = G_i;
                const ivec dead = s[j] == (real)-INFINITY;
                if (careful) {
                    w = pick(dead, splat(0), w), wt = pick(dead, splat(0), wt);
                    v = hide(dead, v, DV, shown), vt = hide(dead, vt, DV, shown + DV), k = hide(dead, k, D, shown + 2 * DV);
                    kt = hide(dead, kt, D, shown + 2 * DV + D), query = hide(dead, q, D, shown + 2 * DV + 2 * D);
                    query_t = hide(dead, qt, D, shown + 2 * DV + 3 * D);
                    if (full) cotangent = hide(dead, G_i, DV, shown + 2 * DV + 4 * D);
                }
                FMA(2 * DV);
                for (int c = 0; c < DV; c++) tangent[c] += wt * v[c] + w * vt[c];
                if (full) {
                    vec ds = (f1[j] * dp[j] - g1[j] * Fu) * u;
                    vec ds2 = (f2[j] * a[j] * dp[j] + f1[j] * (b[j] - dp[j] * Au) - Fu * g2[j] * a[j] + g1[j] * rest) * u;
                    if (careful) ds = pick(dead, splat(0), ds), ds2 = pick(dead, splat(0), ds2);
                    vec *dk = dK + key * D, *dv = dV + key * DV;
                    FMA(4 * D + DV);
                    for (int c = 0; c < D; c++) dq[c] += ds2 * k[c] + ds * kt[c];
                    for (int c = 0; c < D; c++) dk[c] += scale * (ds2 * query[c] + ds * query_t[c]);
                    for (int c = 0; c < DV; c++) dv[c] += wt * cotangent[c];
                    out[j] = ds2;
                }
            }
            for (int c = 0; c < DV; c++) O[i * DV + c] = tangent[c];
            for (int c = 0; c < D; c++) dQ[i * D + c] = dq[c] * scale;
            if (full && t->db.base) {
                memset(bias, 0, (size_t)nk * sizeof(vec));
                for (int64_t j = 0; j < r.n; j++) bias[KEY(&r, j)] = out[j];
                view to = t->db;
                to.base += i * nk;
                unpack(bias, p, n, nk, &to);
            }
        }
        unpack(O, p, n, nq * DV, &t->o);
        if (full) unpack(dQ, p, n, nq * D, &t->dq), unpack(dK, p, n, nk * D, &t->dk), unpack(dV, p, n, nk * DV, &t->dv);
    }
    free(work);
    return 0;
}

#endif
