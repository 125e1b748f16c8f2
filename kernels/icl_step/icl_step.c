/* Training steps of one attention layer on in-context linear regression, for an ensemble, in one call.
 *
 * Compile-time: D (covariates), M (labels), H (heads), REAL32. A sequence holds n_context + 1 pairs (x, y). With token
 * z = (x, y) and query (x, 0), head h adds sum_j p_j OV_h.z_j to the prediction of each label, p = softmax over the earlier
 * pairs of z_j^T KQ_h x_i, where KQ = Wk^T Wq / sqrt(D + M) and OV = Wv^T Wo are formed once a step: keys are the tokens
 * themselves and values are one number per label. Rows: every i = 1 .. n_context (causal), or only i = n_context (single
 * query). Loss: mean over the batch, the rows and the labels of (prediction - y_i)^2.
 *
 * Sequences lie in the lanes of a vector. With G the derivative in the prediction: ds_j = p_j sum_labels G (u_j - o),
 * d(KQ x) = sum_j ds_j z_j, d(OV) = sum_j (sum_i G p_ij) z_j. Order of all sums is fixed: same numbers on every run.
 */
#include "philox.h"
#include <math.h>

#ifndef M
#define M 1
#endif
#define N (D + M)
#define UNROLL _Pragma("GCC unroll 16")

typedef struct {
    int64_t n_replicas, batch, n_context, width, n_steps, first_step, causal, adam;
    double beta1, beta2, eps;
    int64_t clean_query;                     /* the last pair has labels without noise */
    double coefficient_std;                  /* of the linear maps; 0: 1 / sqrt D */
    const double *learning_rate, *noise_std; /* of each replica */
    const double *root;                      /* (D, D) lower triangular: x = root * normals; or NULL */
    const double *mask, *noise_scale;        /* (M, D): 1 where a covariate counts for a label, or NULL; (M) */
    const uint64_t *seed;                    /* of each replica, unused if x is given */
    const real *x, *y;                       /* (replica, step, batch, pair, D) and (..., M), or NULL: generate */
    real *params, *moment1, *moment2;        /* (replica, parameter): Wq, Wk, Wv (H, width, N), Wo (H, M, width) */
    double *loss;                            /* (replica, step), before the update */
    int64_t *diverged_at;                    /* (replica), -1: never */
    real *gradient;                          /* (replica, parameter) of the last step, or NULL */
} run;

typedef struct {
    real KQ[H][N][D], OV[H][M][N];
    vec gKQ[H][N * D], gOV[H][M][N], loss;
} model;

INLINE vec dot(const vec *a, const vec *b) {
    FMA(N);
    vec x = a[0] * b[0];
    UNROLL for (int c = 1; c < N; c++) x += a[c] * b[c];
    return x;
}

/* pairs of 8 sequences: Z[l] = (x_l, y_l) */
NOINLINE void generate(const run *r, int64_t replica, uint64_t step, int64_t first, vec *numbers, vec *Z) {
#if REAL32
    const int64_t pairs = r->n_context + 1, total = M * D + pairs * N;
    const real sigma = (real)r->noise_std[replica], unit = r->coefficient_std > 0 ? (real)r->coefficient_std : 1 / sqrtf(D);
    for (int64_t b = 0; 4 * b < total; b += PHILOX_BLOCKS)
        philox_normals(r->seed[replica], step, (uint32_t)first, (uint32_t)b, numbers + 4 * b);
    vec *beta = numbers, *x = numbers + M * D;
    const vec *noise = x + pairs * D;
    if (r->mask)
        for (int i = 0; i < M * D; i++) beta[i] *= (real)r->mask[i];
    if (r->root)
        for (int64_t l = 0; l < pairs; l++)
            for (int c = D - 1; c >= 0; c--) {
                vec sum = (real)r->root[c * D] * x[l * D];
                for (int b = 1; b <= c; b++) sum += (real)r->root[c * D + b] * x[l * D + b];
                x[l * D + c] = sum;
            }
    for (int64_t l = 0; l < pairs; l++) {
        for (int c = 0; c < D; c++) Z[l * N + c] = x[l * D + c];
        for (int t = 0; t < M; t++) {
            vec y = beta[t * D] * x[l * D];
            for (int c = 1; c < D; c++) y += beta[t * D + c] * x[l * D + c];
            const real size = r->clean_query && l == pairs - 1 ? 0 : r->noise_scale ? sigma * (real)r->noise_scale[t] : sigma;
            Z[l * N + D + t] = y * unit + noise[l * M + t] * size;
        }
    }
#else
    (void)r, (void)replica, (void)step, (void)first, (void)numbers, (void)Z;
#endif
}
NOINLINE void fetch(const run *r, int64_t replica, int64_t step, int64_t first, int64_t n, vec *numbers, vec *Z) {
    const int64_t pairs = r->n_context + 1;
    const real *x[LANES], *y[LANES];
    for (int l = 0; l < LANES; l++) {
        const int64_t item = (replica * r->n_steps + step) * r->batch + first + (l < n ? l : n - 1);
        x[l] = r->x + item * pairs * D, y[l] = r->y + item * pairs * M;
    }
    vec *labels = numbers + pairs * D;
    pack_flat(x, pairs * D, numbers), pack_flat(y, pairs * M, labels);
    for (int64_t l = 0; l < pairs; l++) {
        for (int c = 0; c < D; c++) Z[l * N + c] = numbers[l * D + c];
        for (int t = 0; t < M; t++) Z[l * N + D + t] = labels[l * M + t];
    }
}

/* forward, loss and backward of 8 sequences; weight: 1 for real sequences, 0 for padding lanes */
INLINE void group(const run *r, model *m, const vec *Z, vec *scratch_space, vec weight, real grad_scale) {
    const int64_t L = r->n_context;
    vec *U = scratch_space, *dU = U + H * M * L, *E = dU + H * M * L; /* U, dU: (head, label, pair) */
    for (int h = 0; h < H; h++)
        for (int t = 0; t < M; t++)
            for (int64_t j = 0; j < L; j++) {
                FMA(N);
                vec u = m->OV[h][t][0] * Z[j * N];
                UNROLL for (int c = 1; c < N; c++) u += m->OV[h][t][c] * Z[j * N + c];
                U[(h * M + t) * L + j] = u;
            }
    memset(dU, 0, (size_t)(H * M * L) * sizeof(vec));
    for (int64_t i = r->causal ? 1 : L; i <= L; i++) {
        const vec *x = Z + i * N;
        vec prediction[M], o[H][M], inv[H], G[M];
        UNROLL for (int t = 0; t < M; t++) prediction[t] = splat(0);
        for (int h = 0; h < H; h++) {
            vec q[N], top = splat(-INFINITY), total = splat(0), mean[M], *e = E + h * L;
            const vec *u = U + h * M * L;
            FMA(N * D);
            UNROLL for (int a = 0; a < N; a++) {
                q[a] = m->KQ[h][a][0] * x[0];
                UNROLL for (int b = 1; b < D; b++) q[a] += m->KQ[h][a][b] * x[b];
            }
            for (int64_t j = 0; j < i; j++) {
                e[j] = dot(q, Z + j * N);
                top = vmax(e[j], top);
            }
            UNROLL for (int t = 0; t < M; t++) mean[t] = splat(0);
            for (int64_t j = 0; j < i; j++) {
                FMA(M);
                e[j] = vexp(e[j] - top);
                total += e[j];
                UNROLL for (int t = 0; t < M; t++) mean[t] += e[j] * u[t * L + j];
            }
            inv[h] = 1 / total;
            UNROLL for (int t = 0; t < M; t++) o[h][t] = mean[t] * inv[h], prediction[t] += o[h][t];
        }
        UNROLL for (int t = 0; t < M; t++) {
            const vec residual = (prediction[t] - x[D + t]) * weight;
            m->loss += residual * residual;
            G[t] = residual * grad_scale;
        }
        for (int h = 0; h < H; h++) {
            const vec *restrict u = U + h * M * L, *restrict e = E + h * L;
            vec *restrict du = dU + h * M * L, *g = m->gKQ[h], dt[N], factor[M];
            UNROLL for (int t = 0; t < M; t++) factor[t] = G[t] * inv[h];
            UNROLL for (int a = 0; a < N; a++) dt[a] = splat(0);
            for (int64_t j = 0; j < i; j++) {
                const vec *restrict z = Z + j * N;
                vec p = e[j] * factor[0], ds = p * (u[j] - o[h][0]);
                du[j] += p;
                UNROLL for (int t = 1; t < M; t++) {
                    p = e[j] * factor[t];
                    ds += p * (u[t * L + j] - o[h][t]);
                    du[t * L + j] += p;
                }
                FMA(N);
                UNROLL for (int a = 0; a < N; a++) dt[a] += ds * z[a];
            }
            FMA(N * D);
            UNROLL for (int a = 0; a < N; a++)
                UNROLL for (int b = 0; b < D; b++) g[a * D + b] += dt[a] * x[b];
        }
    }
    for (int h = 0; h < H; h++)
        for (int t = 0; t < M; t++) {
            vec g[N];
            UNROLL for (int a = 0; a < N; a++) g[a] = m->gOV[h][t][a];
            FMA(L * N);
            for (int64_t j = 0; j < L; j++)
                UNROLL for (int a = 0; a < N; a++) g[a] += dU[(h * M + t) * L + j] * Z[j * N + a];
            UNROLL for (int a = 0; a < N; a++) m->gOV[h][t][a] = g[a];
        }
}

NOINLINE void fold(const run *r, const real *p, model *m) {
    const int64_t w = r->width, block = H * w * N;
    const real scale = (real)(1 / sqrt((double)N));
    for (int h = 0; h < H; h++) {
        const real *q = p + h * w * N, *k = q + block, *v = k + block, *o = p + 3 * block + h * M * w;
        TALLY(multiply_adds, w * N * (D + M));
        for (int a = 0; a < N; a++) {
            for (int t = 0; t < M; t++) {
                real ov = 0;
                for (int64_t i = 0; i < w; i++) ov += v[i * N + a] * o[t * w + i];
                m->OV[h][t][a] = ov;
            }
            for (int b = 0; b < D; b++) {
                real x = 0;
                for (int64_t i = 0; i < w; i++) x += k[i * N + a] * q[i * N + b];
                m->KQ[h][a][b] = x * scale;
            }
        }
    }
}
NOINLINE void unfold(const run *r, const real *p, const model *m, real *g) {
    const int64_t w = r->width, block = H * w * N;
    const real scale = (real)(1 / sqrt((double)N));
    for (int h = 0; h < H; h++) {
        const int64_t at = h * w * N;
        const real *q = p + at, *k = q + block, *v = k + block, *o = p + 3 * block + h * M * w;
        real *gq = g + at, *gk = gq + block, *gv = gk + block, *go = g + 3 * block + h * M * w, gKQ[N][D], gOV[M][N];
        for (int a = 0; a < N; a++) {
            for (int t = 0; t < M; t++) gOV[t][a] = vsum(m->gOV[h][t][a]);
            for (int b = 0; b < D; b++) gKQ[a][b] = scale * vsum(m->gKQ[h][a * D + b]);
        }
        TALLY(multiply_adds, 2 * w * N * (D + M));
        for (int64_t i = 0; i < w; i++) {
            for (int t = 0; t < M; t++) go[t * w + i] = 0;
            for (int a = 0; a < N; a++) {
                gq[i * N + a] = gk[i * N + a] = gv[i * N + a] = 0;
                for (int t = 0; t < M; t++)
                    gv[i * N + a] += gOV[t][a] * o[t * w + i], go[t * w + i] += gOV[t][a] * v[i * N + a];
            }
            for (int a = 0; a < N; a++)
                for (int b = 0; b < D; b++)
                    gk[i * N + a] += gKQ[a][b] * q[i * N + b], gq[i * N + b] += gKQ[a][b] * k[i * N + a];
        }
    }
}
NOINLINE void update(const run *r, int64_t replica, int64_t step, int64_t n, const real *g) {
    real *p = r->params + replica * n;
    const double rate = r->learning_rate[replica];
    if (!r->adam) {
        for (int64_t i = 0; i < n; i++) p[i] -= (real)rate * g[i];
        return;
    }
    real *m = r->moment1 + replica * n, *v = r->moment2 + replica * n;
    const double count = (double)(step + 1);
    const real b1 = (real)r->beta1, b2 = (real)r->beta2, c1 = (real)(1 - r->beta1), c2 = (real)(1 - r->beta2);
    const real size = (real)(rate / (1 - pow(r->beta1, count))), root = (real)sqrt(1 - pow(r->beta2, count));
    for (int64_t i = 0; i < n; i++) {
        m[i] = b1 * m[i] + c1 * g[i];
        v[i] = b2 * v[i] + c2 * g[i] * g[i];
        p[i] -= size * m[i] / ((real)sqrt((double)v[i]) / root + (real)r->eps);
    }
}

int train(const run *r, int64_t r0, int64_t r1) { /* 0, or NO_MEMORY with nothing done */
    const int64_t L = r->n_context, n = 3 * H * r->width * N + H * M * r->width, rows = r->causal ? L : 1;
    const int64_t numbers_size = M * D + (L + 1) * N + 16; /* a last group of blocks may go past the end */
    vec *work = scratch((L + 1) * N + numbers_size + (2 * M + 1) * H * L + 8);
    vec *Z = work, *numbers = Z + (L + 1) * N, *space = numbers + numbers_size;
    model *m = (model *)aligned_alloc(64, (sizeof(model) + 63) / 64 * 64);
    real *g = (real *)malloc((size_t)n * sizeof(real));
    if (!work || !m || !g) {
        free(work), free(m), free(g);
        return NO_MEMORY;
    }
    const real grad_scale = (real)(2.0 / (double)(r->batch * rows * M));
    for (int64_t replica = r0; replica < r1; replica++) {
        real *p = r->params + replica * n;
        for (int64_t step = 0; step < r->n_steps; step++) {
            double *loss = r->loss + replica * r->n_steps + step;
            if (r->diverged_at[replica] >= 0) {
                *loss = NAN;
                continue;
            }
            fold(r, p, m);
            memset(m->gKQ, 0, sizeof m->gKQ), memset(m->gOV, 0, sizeof m->gOV), m->loss = splat(0);
            for (int64_t first = 0; first < r->batch; first += LANES) {
                const int64_t count = r->batch - first < LANES ? r->batch - first : LANES;
                vec weight = splat(0);
                for (int l = 0; l < count; l++) weight[l] = 1;
                if (r->x) fetch(r, replica, step, first, count, numbers, Z);
                else generate(r, replica, (uint64_t)(r->first_step + step), first, numbers, Z);
                group(r, m, Z, space, weight, grad_scale);
            }
            *loss = (double)vsum(m->loss) / (double)(r->batch * rows * M);
            unfold(r, p, m, g);
            real check = 0;
            for (int64_t i = 0; i < n; i++) check += g[i] * 0; /* NaN if any entry is not finite */
            if (!isfinite(*loss) || check != 0) {
                r->diverged_at[replica] = r->first_step + step;
                continue;
            }
            if (r->gradient) memcpy(r->gradient + replica * n, g, (size_t)n * sizeof(real));
            update(r, replica, r->first_step + step, n, g);
        }
    }
    free(work), free(m), free(g);
    return 0;
}

#if REAL32
/* the batches that train() makes, as (replica, step, batch, pair, D) and (..., M) */
int batches(const run *r, float *x, float *y) {
    const int64_t pairs = r->n_context + 1;
    vec *work = scratch(2 * pairs * N + M * D + 24), *Z = work, *numbers = Z + pairs * N;
    if (!work) return NO_MEMORY;
    for (int64_t item = 0; item < r->n_replicas * r->n_steps; item++)
        for (int64_t first = 0; first < r->batch; first += LANES) {
            const int64_t replica = item / r->n_steps, step = r->first_step + item % r->n_steps;
            generate(r, replica, (uint64_t)step, first, numbers, Z);
            for (int64_t l = 0; l < LANES && first + l < r->batch; l++)
                for (int64_t i = 0; i < pairs; i++) {
                    const int64_t at = (item * r->batch + first + l) * pairs + i;
                    for (int c = 0; c < D; c++) x[at * D + c] = Z[i * N + c][l];
                    for (int t = 0; t < M; t++) y[at * M + t] = Z[i * N + D + t][l];
                }
        }
    free(work);
    return 0;
}
/* n_numbers normals of each of n_sequences (a multiple of 8) sequences, lane-minor: (sequence/8, number, 8) */
void normals(uint64_t seed, uint64_t step, int64_t n_sequences, int64_t n_numbers, float *out) {
    for (int64_t first = 0; first < n_sequences; first += LANES)
        for (int64_t b = 0; 4 * b < n_numbers; b += PHILOX_BLOCKS) {
            vec v[4 * PHILOX_BLOCKS];
            philox_normals(seed, step, (uint32_t)first, (uint32_t)b, v);
            const int64_t left = n_numbers - 4 * b;
            memcpy(out + first * n_numbers + 4 * b * LANES, v, (size_t)(left < 4 * PHILOX_BLOCKS ? left : 4 * PHILOX_BLOCKS) * sizeof(vec));
        }
}
#endif
