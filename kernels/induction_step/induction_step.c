/* Training steps of a two-layer attention-only network on in-context classification, for an ensemble, in one call.
 *
 * Tokens u_i = (one-hot position, content), i = 1 .. T = 2 N + 1, the last one the query; causal softmax attention,
 *   v_i = u_i + V1 m_i,  m_i = sum_j p1_ij u_j,  p1_ij ~ exp(u_j . A u_i),  A = K1^T Q1,
 *   w = v_T + V2 x,      x = sum_j p2_j v_j,     p2_j  ~ exp(v_j . r),      r = K2^T Q2 v_T,
 *   h = relu(W3 relu(W2 relu(W1 w + b1) + b2) + b3), logits R h, cross-entropy; mean over the batch.
 *
 * What is saved: keys are the tokens, and the positions among them only choose rows of A^T. With r1 = V1^T r the scores of
 * the second layer are v_j . r = u_j . r + sum_k p1_jk (u_k . r1), and with g_k = sum_j p2_j p1_jk its mean is
 * x = sum_j p2_j u_j + V1 sum_k g_k u_k: no value and no key is ever formed, and V1 acts on two vectors per sequence. Contents
 * of labels come from a table, so A acts on it and not on each label. What is left are products of matrices with the batch.
 * Tokens have no gradient, which saves as much on the way back.
 *
 * Inside, contents come before positions, so that they begin on vector boundaries. Order of all sums is fixed.
 */
#include "batches.h"

#define UNROLLED _Pragma("GCC unroll 8")
#define GROUP 16 /* sequences whose first-layer scores are formed together */
enum { Q1, K1, V1, Q2, K2, V2, W1, W2, W3, R, MATRICES };
static const int out_moved[] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0}, in_moved[] = {1, 1, 1, 1, 1, 1, 1, 0, 0, 0};

typedef struct {
    int64_t n, nr, ld, T, Tr, D, Dr, N, P, L, Lr, ldl, B, Br; /* sizes; r: rounded up; ld: row length */
    real *w[MATRICES], *wt[MATRICES], *g[MATRICES], b[3], gb[3];
    real *At, *gAt, *gA;         /* A^T (query side, key side) and gradients */
    real *labels, *Tl, *gTl;     /* label vectors, A applied to them, its gradient */
    real *Ti;                    /* A applied to the items of a group; then the gradients of that */
    real *C, *S, *dS, *turn;     /* of one sequence: contents, scores (key, query), gradients, A u_i by query */
    real *P1;                    /* (sequence, key, query) */
    real *a, *gk, *p2, *ds2;     /* (sequence, token): u . r1, u . dG, p2, its gradient */
    real *mq, *vq, *q2, *r, *r1, *G, *x, *w_out, *h[3], *logits; /* (sequence, .) */
    real *dlogits, *dh, *dh2, *dx, *dG, *dr, *dr1, *dq2, *dvq, *dmq;
    batch_data data;
    void *memory;
} model;

/* ---- sums over the tokens of one sequence ---- */

/* y_j = u_j . r, zero beyond the last token */
INLINE void dots(const model *m, const real *r, int64_t start, real *y) {
    const real *C = m->C, *position = r + m->D + start;
    for (int64_t j0 = 0; j0 < m->T; j0 += LANES) {
        const int rows = (int)(m->T - j0 < LANES ? m->T - j0 : LANES);
        vec sum[LANES];
        for (int l = 0; l < LANES; l++) sum[l] = splat(0);
        if (rows == LANES)
            for (int64_t d = 0; d < m->Dr; d += LANES) {
                const vec x = *(const loose *)(r + d);
                UNROLLED for (int l = 0; l < LANES; l++) sum[l] += *(const loose *)(C + (j0 + l) * m->Dr + d) * x;
            }
        else
            for (int l = 0; l < rows; l++)
                for (int64_t d = 0; d < m->Dr; d += LANES)
                    sum[l] += *(const loose *)(C + (j0 + l) * m->Dr + d) * *(const loose *)(r + d);
        *(loose *)(y + j0) = lane_sums(sum) + *(const loose *)(position + j0);
        for (int l = rows; l < LANES; l++) y[j0 + l] = 0;
    }
}
/* out = sum_j weight_j u_j, as a whole row */
INLINE void mix(const model *m, const real *weight, int64_t stride, int64_t start, real *out) {
    const real *C = m->C;
    for (int64_t d = 0; d < m->Dr; d += BAND) {
        band even = {0}, odd = {0};
        int64_t j = 0;
        for (; j + 1 < m->T; j += 2) {
            even += weight[j * stride] * *(const band *)(C + j * m->Dr + d);
            odd += weight[(j + 1) * stride] * *(const band *)(C + (j + 1) * m->Dr + d);
        }
        *(band *)(out + d) = even + weight[j * stride] * *(const band *)(C + j * m->Dr + d) + odd;
    }
    memset(out + m->Dr, 0, (size_t)(m->nr - m->Dr) * sizeof(real));
    for (int64_t j = 0; j < m->T; j++) out[m->D + start + j] = weight[j * stride];
}
INLINE const real *content(const model *m, int64_t s, int64_t i) {
    return i % 2 ? m->labels + m->data.label[s * m->N + i / 2] * m->Dr : m->data.items + (s * (m->N + 1) + i / 2) * m->Dr;
}
INLINE void contents(const model *m, int64_t s) {
    for (int64_t i = 0; i < m->T; i++) memcpy(m->C + i * m->Dr, content(m, s, i), (size_t)m->Dr * sizeof(real));
}
/* y_i += sum_k a_k p1_ik; and y_k = sum_i b_i p1_ik */
INLINE void add_over_keys(const model *m, const real *P1, const real *a, real *y) {
    for (int64_t i0 = 0; i0 < m->T; i0 += LANES) {
        vec x = *(vec *)(y + i0);
        for (int64_t k = 0; k < m->T && k < i0 + LANES; k++) x += a[k] * *(const vec *)(P1 + k * m->Tr + i0);
        *(vec *)(y + i0) = x;
    }
}
INLINE void over_queries(const model *m, const real *P1, const real *b, real *y) {
    for (int64_t k0 = 0; k0 < m->T; k0 += LANES) {
        vec sum[LANES];
        for (int l = 0; l < LANES; l++) {
            sum[l] = splat(0);
            for (int64_t i0 = k0; i0 < m->T && k0 + l < m->T; i0 += LANES)
                sum[l] += *(const vec *)(b + i0) * *(const vec *)(P1 + (k0 + l) * m->Tr + i0);
        }
        *(vec *)(y + k0) = lane_sums(sum);
    }
}
INLINE vec token_number(int64_t first) {
    vec t;
    for (int l = 0; l < LANES; l++) t[l] = (real)(first + l);
    return t;
}
/* softmax of n numbers in place; the rest of the last vector becomes zero; returns the log of the normaliser */
INLINE double softmax(real *s, int64_t n) {
    vec top = splat(-INFINITY), total = splat(0);
    for (int64_t i = 0; i < n; i += LANES) {
        vec x = pick(token_number(i) < splat((real)n), *(loose *)(s + i), splat(-INFINITY));
        *(loose *)(s + i) = x, top = vmax(x, top);
    }
    real most = top[0];
    for (int l = 1; l < LANES; l++) most = top[l] > most ? top[l] : most;
    for (int64_t i = 0; i < n; i += LANES) {
        const vec e = vexp(*(loose *)(s + i) - most);
        *(loose *)(s + i) = e, total += e;
    }
    const real sum = vsum(total), inverse = 1 / sum;
    for (int64_t i = 0; i < n; i += LANES) *(loose *)(s + i) = *(loose *)(s + i) * inverse;
    return (double)most + log((double)sum);
}

/* ---- the parts that go sequence by sequence ---- */

/* p1 for all queries, and the mean m_T of the last one */
NOINLINE void first_layer(model *m, int64_t s, int64_t slot) {
    const int64_t T = m->T, Tr = m->Tr, Dr = m->Dr, start = m->data.start[s];
    real *P1 = m->P1 + s * T * Tr, *S = m->turn;
    contents(m, s);
    for (int64_t i0 = 0; i0 < Tr; i0 += LANES) { /* A u_i, turned: rows are contents, then the window of positions */
        const real *row[LANES], *at[LANES];
        for (int l = 0; l < LANES; l++) {
            const int64_t i = i0 + l < T ? i0 + l : T - 1;
            row[l] = i % 2 ? m->Tl + m->data.label[s * m->N + i / 2] * m->ld : m->Ti + (slot * (m->N + 1) + i / 2) * m->ld;
            at[l] = m->At + (m->D + start + i) * m->ld;
        }
        for (int64_t part = 0; part < 2; part++)
            for (int64_t d = 0; d < (part ? Tr : Dr); d += LANES) {
                const int64_t from = part ? m->D + start + d : d;
                vec v[LANES];
                for (int l = 0; l < LANES; l++) v[l] = *(const loose *)(row[l] + from) + *(const loose *)(at[l] + from);
                transpose(v);
                for (int l = 0; l < LANES; l++) *(loose *)(S + ((part ? Dr : 0) + d + l) * Tr + i0) = v[l];
            }
    }
    for (int64_t j0 = 0; j0 < T; j0 += LANES)
        for (int64_t i0 = j0; i0 < T; i0 += LANES) {
            const real *C = m->C + j0 * Dr, *queries = S + i0;
            if (T - j0 >= LANES) {
                vec sum[LANES];
                UNROLLED for (int l = 0; l < LANES; l++) sum[l] = *(const loose *)(S + (Dr + j0 + l) * Tr + i0);
                for (int64_t d = 0; d < m->D; d++) {
                    const vec x = *(const loose *)(queries + d * Tr);
                    UNROLLED for (int l = 0; l < LANES; l++) sum[l] += C[l * Dr + d] * x;
                }
                UNROLLED for (int l = 0; l < LANES; l++) *(loose *)(P1 + (j0 + l) * Tr + i0) = sum[l];
            } else
                for (int64_t j = j0; j < T; j++, C += Dr) {
                    vec sum[4] = {*(const loose *)(S + (Dr + j) * Tr + i0)};
                    for (int64_t d = 0; d < Dr; d += 4) /* C is zero beyond D */
                        UNROLLED for (int q = 0; q < 4; q++) sum[q] += C[d + q] * *(const loose *)(queries + (d + q) * Tr);
                    *(loose *)(P1 + j * Tr + i0) = (sum[0] + sum[1]) + (sum[2] + sum[3]);
                }
        }
    for (int64_t i0 = 0; i0 < T; i0 += LANES) { /* softmax over the keys j <= i, queries in the lanes */
        const int64_t keys = i0 + LANES < T ? i0 + LANES : T;
        const vec number = token_number(i0);
        vec top = splat(-INFINITY), total = splat(0);
        for (int64_t j = 0; j < keys; j++) {
            vec *x = (vec *)(P1 + j * Tr + i0);
            if (j > i0) *x = pick(number < splat((real)j), splat(-INFINITY), *x);
            top = vmax(*x, top);
        }
        for (int64_t j = 0; j < keys; j++) {
            vec *x = (vec *)(P1 + j * Tr + i0);
            *x = vexp(*x - top), total += *x;
        }
        const vec inverse = 1 / total;
        for (int64_t j = 0; j < keys; j++) *(vec *)(P1 + j * Tr + i0) *= inverse;
    }
    mix(m, P1 + T - 1, Tr, start, m->mq + s * m->ld);
    real *vq = m->vq + s * m->ld; /* u_T for now */
    memset(vq, 0, (size_t)m->nr * sizeof(real));
    memcpy(vq, m->C + (T - 1) * Dr, (size_t)m->D * sizeof(real));
    vq[m->D + start + T - 1] = 1;
}

/* p2, and the means sum_j p2_j u_j and G = sum_k g_k u_k */
NOINLINE void second_layer(model *m, int64_t s) {
    const int64_t T = m->T, Tr = m->Tr, start = m->data.start[s];
    const real *P1 = m->P1 + s * T * Tr;
    real *a = m->a + s * Tr, *p2 = m->p2 + s * Tr, *g = m->S;
    contents(m, s);
    dots(m, m->r + s * m->ld, start, p2), dots(m, m->r1 + s * m->ld, start, a);
    add_over_keys(m, P1, a, p2);
    softmax(p2, T);
    over_queries(m, P1, p2, g);
    mix(m, p2, 1, start, m->x + s * m->ld), mix(m, g, 1, start, m->G + s * m->ld);
}

/* from the gradients dx and dG to those of the scores, of r and of r1 */
NOINLINE void second_layer_back(model *m, int64_t s) {
    const int64_t T = m->T, Tr = m->Tr, start = m->data.start[s];
    const real *P1 = m->P1 + s * T * Tr, *p2 = m->p2 + s * Tr;
    real *gk = m->gk + s * Tr, *ds2 = m->ds2 + s * Tr, *da = m->S;
    contents(m, s);
    dots(m, m->dx + s * m->ld, start, ds2), dots(m, m->dG + s * m->ld, start, gk);
    add_over_keys(m, P1, gk, ds2);
    vec total = splat(0);
    for (int64_t i0 = 0; i0 < T; i0 += LANES) total += *(const vec *)(ds2 + i0) * *(const vec *)(p2 + i0);
    const real mean = vsum(total);
    for (int64_t i0 = 0; i0 < T; i0 += LANES) *(vec *)(ds2 + i0) = (*(vec *)(ds2 + i0) - mean) * *(const vec *)(p2 + i0);
    over_queries(m, P1, ds2, da);
    mix(m, ds2, 1, start, m->dr + s * m->ld), mix(m, da, 1, start, m->dr1 + s * m->ld);
}

/* from all that reaches p1 to the gradients of A u_i: to the table of labels, the rows of positions, and the items */
NOINLINE void first_layer_back(model *m, int64_t s, int64_t slot) {
    const int64_t T = m->T, Tr = m->Tr, Dr = m->Dr, start = m->data.start[s];
    const real *P1 = m->P1 + s * T * Tr, *a = m->a + s * Tr, *gk = m->gk + s * Tr, *p2 = m->p2 + s * Tr;
    const real *ds2 = m->ds2 + s * Tr;
    real *f = m->S, *dS = m->dS;
    contents(m, s);
    dots(m, m->dmq + s * m->ld, start, f);
    for (int64_t i0 = 0; i0 < T; i0 += LANES) {
        const int64_t keys = i0 + LANES < T ? i0 + LANES : T;
        const vec p = *(const vec *)(p2 + i0), d = *(const vec *)(ds2 + i0);
        const vec last = pick(token_number(i0) == splat((real)(T - 1)), splat(1), splat(0));
        vec mean = splat(0);
        for (int64_t k = 0; k < keys; k++) {
            const vec x = gk[k] * p + a[k] * d + f[k] * last;
            *(vec *)(dS + k * Tr + i0) = x, mean += x * *(const vec *)(P1 + k * Tr + i0);
        }
        for (int64_t k = 0; k < keys; k++) {
            vec *x = (vec *)(dS + k * Tr + i0);
            *x = (*x - mean) * *(const vec *)(P1 + k * Tr + i0);
        }
    }
    for (int64_t i0 = 0; i0 < T; i0 += LANES) {
        const int64_t rows = T - i0 < LANES ? T - i0 : LANES;
        product(rows, Dr, i0 + rows, dS + i0, 1, Tr, m->C, Dr, m->turn + i0 * Dr, Dr, 0);
    }
    for (int64_t i = 0; i < T; i++) {
        real *own = i % 2 ? m->gTl + m->data.label[s * m->N + i / 2] * m->ld : m->Ti + (slot * (m->N + 1) + i / 2) * m->ld;
        real *at = m->gAt + (m->D + start + i) * m->ld;
        if (i % 2 == 0) memset(own, 0, (size_t)m->nr * sizeof(real));
        for (int64_t d = 0; d < Dr; d += BAND) {
            const band x = *(const band *)(m->turn + i * Dr + d);
            *(band *)(own + d) += x, *(band *)(at + d) += x;
        }
        own += m->D + start, at += m->D + start;
        for (int64_t j = 0; j <= i; j++) own[j] += dS[j * Tr + i], at[j] += dS[j * Tr + i];
    }
}

/* ---- the parts that go matrix by matrix ---- */

/* Y (+)= X W^T and Y (+)= X W for rows X of the batch; dW (+)= Y^T X */
INLINE void through(model *m, const real *X, int w, real *Y, int add) {
    product(m->Br, m->nr, m->n, X, m->ld, 1, m->wt[w], m->ld, Y, m->ld, add);
}
INLINE void against(model *m, const real *X, int w, real *Y, int add) {
    product(m->Br, m->nr, m->n, X, m->ld, 1, m->w[w], m->ld, Y, m->ld, add);
}
INLINE void outer(model *m, const real *Y, const real *X, int w, int add) {
    product(m->nr, m->nr, m->B, Y, 1, m->ld, X, m->ld, m->g[w], m->ld, add);
}

NOINLINE void rectify(model *m, int layer) {
    real *h = m->h[layer];
    for (int64_t s = 0; s < m->B; s++, h += m->ld) {
        for (int64_t i = 0; i < m->n; i++) h[i] = h[i] + m->b[layer] > 0 ? h[i] + m->b[layer] : 0;
        for (int64_t i = m->n; i < m->nr; i++) h[i] = 0;
    }
}
NOINLINE void rectify_back(model *m, int layer, real *dh) {
    const real *h = m->h[layer];
    vec total = splat(0);
    for (int64_t s = 0; s < m->B; s++, h += m->ld, dh += m->ld)
        for (int64_t i = 0; i < m->nr; i += LANES) {
            vec *d = (vec *)(dh + i);
            *d = pick(*(const vec *)(h + i) > 0, *d, splat(0)), total += *d;
        }
    m->gb[layer] = vsum(total);
}
NOINLINE double forward(model *m) {
    const int64_t per_group = GROUP * (m->N + 1);
    product(m->nr, m->nr, m->n, m->w[Q1], 1, m->ld, m->w[K1], m->ld, m->At, m->ld, 0);
    product(m->Lr, m->nr, m->D, m->labels, m->Dr, 1, m->At, m->ld, m->Tl, m->ld, 0);
    for (int64_t first = 0; first < m->B; first += GROUP) {
        product(per_group, m->nr, m->D, m->data.items + first * (m->N + 1) * m->Dr, m->Dr, 1, m->At, m->ld, m->Ti, m->ld, 0);
        for (int64_t s = first; s < first + GROUP && s < m->B; s++) first_layer(m, s, s - first);
    }
    through(m, m->mq, V1, m->vq, 1), through(m, m->vq, Q2, m->q2, 0);
    against(m, m->q2, K2, m->r, 0), against(m, m->r, V1, m->r1, 0);
    for (int64_t s = 0; s < m->B; s++) second_layer(m, s);
    through(m, m->G, V1, m->x, 1);
    memcpy(m->w_out, m->vq, (size_t)(m->B * m->ld) * sizeof(real));
    through(m, m->x, V2, m->w_out, 1);
    through(m, m->w_out, W1, m->h[0], 0), rectify(m, 0);
    through(m, m->h[0], W2, m->h[1], 0), rectify(m, 1);
    through(m, m->h[1], W3, m->h[2], 0), rectify(m, 2);
    product(m->Br, m->Lr, m->n, m->h[2], m->ld, 1, m->wt[R], m->ldl, m->logits, m->ldl, 0);
    double loss = 0;
    const real share = 1 / (real)m->B;
    for (int64_t s = 0; s < m->B; s++) {
        real *p = m->logits + s * m->ldl, *d = m->dlogits + s * m->ldl;
        const int32_t target = m->data.target[s];
        const double own = (double)p[target];
        loss += softmax(p, m->L) - own;
        for (int64_t l = 0; l < m->L; l++) d[l] = p[l] * share;
        d[target] -= share;
    }
    return loss / (double)m->B;
}
NOINLINE void backward(model *m) {
    product(m->Lr, m->nr, m->B, m->dlogits, 1, m->ldl, m->h[2], m->ld, m->g[R], m->ld, 0);
    product(m->Br, m->nr, m->L, m->dlogits, m->ldl, 1, m->w[R], m->ld, m->dh, m->ld, 0), rectify_back(m, 2, m->dh);
    outer(m, m->dh, m->h[1], W3, 0), against(m, m->dh, W3, m->dh2, 0), rectify_back(m, 1, m->dh2);
    outer(m, m->dh2, m->h[0], W2, 0), against(m, m->dh2, W2, m->dh, 0), rectify_back(m, 0, m->dh);
    outer(m, m->dh, m->w_out, W1, 0), against(m, m->dh, W1, m->dvq, 0);
    outer(m, m->dvq, m->x, V2, 0), against(m, m->dvq, V2, m->dx, 0);
    outer(m, m->dx, m->G, V1, 0), against(m, m->dx, V1, m->dG, 0);
    for (int64_t s = 0; s < m->B; s++) second_layer_back(m, s);
    through(m, m->dr1, V1, m->dr, 1), outer(m, m->r, m->dr1, V1, 1);
    through(m, m->dr, K2, m->dq2, 0), outer(m, m->q2, m->dr, K2, 0);
    against(m, m->dq2, Q2, m->dvq, 1), outer(m, m->dq2, m->vq, Q2, 0);
    outer(m, m->dvq, m->mq, V1, 1), against(m, m->dvq, V1, m->dmq, 0);
    memset(m->gAt, 0, (size_t)(m->nr * m->ld) * sizeof(real)), memset(m->gTl, 0, (size_t)(m->Lr * m->ld) * sizeof(real));
    for (int64_t first = 0; first < m->B; first += GROUP) {
        const int64_t count = m->B - first < GROUP ? m->B - first : GROUP;
        for (int64_t s = first; s < first + count; s++) first_layer_back(m, s, s - first);
        product(m->Dr, m->nr, count * (m->N + 1), m->data.items + first * (m->N + 1) * m->Dr, 1, m->Dr, m->Ti, m->ld, m->gAt,
                m->ld, 1);
    }
    product(m->Dr, m->nr, m->L, m->labels, 1, m->Dr, m->gTl, m->ld, m->gAt, m->ld, 1);
    product(m->nr, m->nr, m->n, m->w[Q1], m->ld, 1, m->gAt, m->ld, m->g[K1], m->ld, 0);
    turned(m->nr, m->nr, m->gAt, m->ld, m->gA, m->ld);
    product(m->nr, m->nr, m->n, m->w[K1], m->ld, 1, m->gA, m->ld, m->g[Q1], m->ld, 0);
}

/* ---- parameters ---- */

INLINE int64_t rows_of(const model *m, int w) { return w == R ? m->L : m->n; }
INLINE int64_t rounded_rows(const model *m, int w) { return w == R ? m->Lr : m->nr; }
INLINE int64_t place(const model *m, int moved, int64_t i) { return !moved ? i : i < m->P ? m->D + i : i - m->P; }
/* between the parameters as given (Q1 .. W3, b, R; positions first) and as used (padded; contents first) */
NOINLINE void exchange(model *m, real *given, real *const used[MATRICES], real *b, int load) {
    for (int w = 0; w < MATRICES; w++) {
        if (w == R) {
            for (int i = 0; i < 3; i++)
                if (load) b[i] = given[i];
                else given[i] = b[i];
            given += 3;
        }
        for (int64_t o = 0; o < rows_of(m, w); o++, given += m->n) {
            real *row = used[w] + place(m, out_moved[w], o) * m->ld, *split = given + (in_moved[w] ? m->P : 0);
            const int64_t first = in_moved[w] ? m->D : m->n; /* contents, or everything */
            const size_t size = (size_t)first * sizeof(real), rest = (size_t)(m->n - first) * sizeof(real);
            if (load) memcpy(row, split, size), memcpy(row + first, given, rest);
            else memcpy(split, row, size), memcpy(given, row + first, rest);
        }
    }
}
NOINLINE void turn_all(model *m) {
    for (int w = V1; w < MATRICES; w++) turned(rounded_rows(m, w), m->nr, m->w[w], m->ld, m->wt[w], w == R ? m->ldl : m->ld);
}
/* whether all gradients are finite; with a fixed order of sums this is a property of the replica alone */
NOINLINE int all_finite(const model *m) {
    band check = {0};
    for (int w = 0; w < MATRICES; w++)
        for (int64_t i = 0; i < rounded_rows(m, w) * m->ld; i += BAND) check += *(const band *)(m->g[w] + i) * 0;
    real sum = (m->gb[0] + m->gb[1] + m->gb[2]) * 0;
    for (int l = 0; l < BAND; l++) sum += check[l];
    return sum == 0;
}
/* p <- p - (decay p + rate g): 1 - decay would lose what decay has beyond the last digit of 1 */
NOINLINE void update(model *m, real decay, real rate) {
    for (int w = 0; w < MATRICES; w++)
        for (int64_t i = 0; i < rounded_rows(m, w) * m->ld; i += BAND) {
            band *p = (band *)(m->w[w] + i);
            *p -= decay * *p + rate * *(const band *)(m->g[w] + i);
        }
    for (int i = 0; i < 3; i++) m->b[i] -= decay * m->b[i] + rate * m->gb[i];
}

static real *cut(char **at, int64_t count) { /* whole vectors, and one to spare beyond the end */
    real *found = (real *)*at;
    *at += up(count * (int64_t)sizeof(real) + 128, 64);
    return found;
}
NOINLINE int64_t layout(const run *r, model *m, char *base) {
    char *at = base;
    m->N = r->pairs, m->T = 2 * m->N + 1, m->Tr = up(m->T, 8), m->D = r->dim, m->Dr = up(m->D, 16), m->P = r->positions;
    m->n = m->D + m->P, m->nr = up(m->n, 16), m->ld = m->nr / 16 % 2 ? m->nr : m->nr + 16; /* see products.h */
    m->L = r->labels, m->Lr = up(m->L, 16), m->ldl = m->Lr, m->B = r->batch, m->Br = up(m->B, GROUP);
    for (int w = 0; w < MATRICES; w++) {
        const int64_t size = rounded_rows(m, w) * m->ld;
        m->w[w] = cut(&at, size), m->g[w] = cut(&at, size), m->wt[w] = cut(&at, w == R ? m->nr * m->ldl : w < V1 ? 0 : size);
    }
    m->At = cut(&at, m->nr * m->ld), m->gAt = cut(&at, m->nr * m->ld), m->gA = cut(&at, m->nr * m->ld);
    m->labels = cut(&at, m->Lr * m->Dr), m->Tl = cut(&at, m->Lr * m->ld), m->gTl = cut(&at, m->Lr * m->ld);
    m->Ti = cut(&at, GROUP * (m->N + 1) * m->ld);
    m->C = cut(&at, m->Tr * m->Dr), m->S = cut(&at, m->Tr), m->dS = cut(&at, m->T * m->Tr);
    m->turn = cut(&at, (m->Dr + m->Tr) * (m->Tr > m->Dr ? m->Tr : m->Dr));
    m->P1 = cut(&at, m->B * m->T * m->Tr);
    real **tokens[] = {&m->a, &m->gk, &m->p2, &m->ds2};
    for (int i = 0; i < 4; i++) *tokens[i] = cut(&at, m->B * m->Tr);
    real **rows[] = {&m->mq,   &m->vq,   &m->q2,   &m->r,  &m->r1,  &m->G,  &m->x,  &m->w_out, &m->h[0], &m->h[1],
                     &m->h[2], &m->dh,   &m->dh2,  &m->dx, &m->dG,  &m->dr, &m->dr1, &m->dq2,  &m->dvq,  &m->dmq};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) *rows[i] = cut(&at, m->Br * m->ld);
    m->logits = cut(&at, m->Br * m->ldl), m->dlogits = cut(&at, m->Br * m->ldl);
    m->data.items = cut(&at, m->Br * (m->N + 1) * m->Dr), m->data.fresh = cut(&at, up(r->novel, 8) * m->Dr);
    m->data.numbers = (vec *)cut(&at, ((m->N + 1) * m->D + 16) * LANES);
    m->data.label = (int32_t *)cut(&at, m->B * m->N), m->data.target = (int32_t *)cut(&at, m->B);
    m->data.start = (int32_t *)cut(&at, m->B), m->data.words = (uint32_t *)cut(&at, n_words(r) * 8);
    m->data.chosen = (int64_t *)cut(&at, 2 * (m->B * (m->N + 1) + m->L + 2 * m->N)); /* and room to shuffle */
    return at - base;
}
static model *make(const run *r) { /* NULL without memory */
    model *m = (model *)calloc(1, sizeof(model));
    if (!m) return NULL;
    const int64_t size = up(layout(r, m, (char *)0), 64);
    m->memory = aligned_alloc(64, (size_t)size);
    if (!m->memory) {
        free(m);
        return NULL;
    }
    memset(m->memory, 0, (size_t)size);
    layout(r, m, (char *)m->memory);
    return m;
}

int train(const run *r, int64_t r0, int64_t r1) {
    model *m = make(r);
    if (!m) return NO_MEMORY;
    for (int64_t replica = r0; replica < r1; replica++) {
        real *given = r->params + replica * r->row;
        exchange(m, given, m->w, m->b, 1);
        for (int64_t l = 0; l < m->L; l++)
            memcpy(m->labels + l * m->Dr, r->label_vectors + (replica * m->L + l) * m->D, (size_t)m->D * sizeof(real));
        for (int64_t step = 0; step < r->n_steps; step++) {
            double *loss = r->loss + replica * r->n_steps + step;
            if (r->diverged_at[replica] >= 0) {
                *loss = NAN;
                continue;
            }
#if REAL32
            if (!r->items) generate(r, replica, (uint64_t)(r->first_step + step), &m->data);
            else
#endif
                fetch(r, replica, step, &m->data);
            turn_all(m);
            *loss = forward(m);
            backward(m);
            if (!isfinite(*loss) || !all_finite(m)) {
                r->diverged_at[replica] = r->first_step + step;
                continue;
            }
            if (r->gradient && step + 1 == r->n_steps) exchange(m, r->gradient + replica * r->row, m->g, m->gb, 0);
            update(m, (real)r->decay[replica], (real)r->learning_rate[replica]);
        }
        exchange(m, given, m->w, m->b, 0);
    }
    free(m->memory), free(m);
    return 0;
}

#if REAL32
/* the batches that train() makes: items (replica, step, batch, pairs + 1, dim), label (.., pairs), target and start (..),
 * and the class of each item and target (.., pairs + 1), those of novel classes from `classes` on */
int batches(const run *r, float *items, int32_t *label, int32_t *target, int32_t *start, int64_t *chosen) {
    model *m = make(r);
    if (!m) return NO_MEMORY;
    const batch_data *b = &m->data;
    const int64_t N = r->pairs, D = r->dim;
    for (int64_t item = 0; item < r->n_replicas * r->n_steps; item++) {
        generate(r, item / r->n_steps, (uint64_t)(r->first_step + item % r->n_steps), &m->data);
        const int64_t first = item * r->batch;
        for (int64_t i = 0; i < r->batch * (N + 1); i++)
            memcpy(items + (first * (N + 1) + i) * D, b->items + i * m->Dr, (size_t)D * sizeof(float));
        memcpy(label + first * N, b->label, (size_t)(r->batch * N) * sizeof(int32_t));
        memcpy(target + first, b->target, (size_t)r->batch * sizeof(int32_t));
        memcpy(start + first, b->start, (size_t)r->batch * sizeof(int32_t));
        memcpy(chosen + first * (N + 1), b->chosen, (size_t)(r->batch * (N + 1)) * sizeof(int64_t));
    }
    free(m->memory), free(m);
    return 0;
}
#endif
