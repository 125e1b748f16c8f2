/* The record of one call, and the score maps of attention.c: f, g, their derivatives and the constant of Z. */
#ifndef NARROW
#define WIDE /* 64-byte vectors where the machine has them */
#endif
#include "lanes.h"
#include <math.h>
#define UNROLL _Pragma("GCC unroll 16")

/* the order of MAPS in cpu.py; macros, because the preprocessor compares them */
#define SOFTMAX 0
#define SOFTPICK 1
#define SIGMOID 2
#define LINEAR 3
#define RELU 4
#define POWER 5
#define RELU_POWER 6
#define SOFTPLUS 7
#define SIGNED 8
#define FORMULA 9 /* a map that a user gave by its formula: made.h */
#ifndef MAP
#define MAP SOFTMAX
#endif
#ifndef SINK /* 1: the statistics are wanted of a softmax whose weights do not sum to one */
#define SINK 0
#endif
#define PLAIN (MAP == SOFTMAX && !SINK)
enum { S_LSE, S_ENTROPY, S_MAX, S_SQUARE, S_MEAN, S_VARIANCE, S_WMEAN, S_WVARIANCE, S_ROW_SUM, S_MASS, N_STATS };

typedef struct {
    real *base;
    const int64_t *offset; /* of each problem, in numbers */
    int64_t row, col;      /* strides */
} view;

typedef struct {
    int64_t n_q, n_k;
    double scale, parameter; /* parameter: log of the constant (softmax), eps (softpick), 1 = count (linear, relu), p (power) */
    const int32_t *first, *last, *cols; /* visible keys of row i: first[i] .. last[i]-1, through cols if it is not NULL */
    const uint8_t *in_mass;             /* keys of the statistic "mass", or NULL */
    view q, k, v, bias, g;              /* inputs; bias.base may be NULL */
    view qt, kt, vt, bt;                /* tangents; any base may be NULL */
    view o, dq, dk, dv, db;             /* outputs; any base may be NULL */
    view stats, dstats;                 /* (query, N_STATS) */
} task;

/* ---- the score maps, divided by the row's common factor (exp(m), or m^p for powers) ---- */
typedef struct {
    vec f, f1, f2, g, g1, g2;
} terms;

INLINE vec sign_of(vec s) { return pick(s > 0, splat(1), pick(s < 0, splat(-1), splat(0))); }
INLINE vec power_of(vec x, int p) {
    vec y = splat(1);
    for (; p; p >>= 1, x = x * x)
        if (p & 1) y = y * x;
    return y;
}
#if MAP == FORMULA
#include "formula_functions.h"
#include "made.h"
#else
INLINE vec level_start(const task *t) {
    (void)t;
#if MAP == SOFTMAX
    return splat((real)t->parameter); /* log c: minus infinity without a sink */
#elif MAP == SOFTPLUS
    return splat(-INFINITY);
#else
    return splat(0);
#endif
}
INLINE vec level_next(vec m, vec s) {
    (void)s;
#if MAP == SOFTMAX || MAP == SOFTPICK || MAP == SOFTPLUS
    return vmax(s, m);
#elif MAP == SIGNED || MAP == POWER
    return vmax(vabs(s), m);
#elif MAP == RELU_POWER
    return vmax(s, m); /* from 0: the largest positive logit */
#else
    return m;
#endif
}
INLINE vec level_end(vec m) {
#if MAP == SOFTMAX
    return pick(m > -INFINITY, m, splat(0));
#elif MAP == SOFTPLUS
    return pick(m > -INFINITY, vmin(m, splat(0)), splat(0));
#elif MAP == POWER || MAP == RELU_POWER
    return pick(m > 0, m, splat(1));
#else
    return m;
#endif
}
INLINE vec constant(const task *t, vec m, vec n_visible) {
    (void)t, (void)m, (void)n_visible;
#if MAP == SOFTMAX
    return vexp(splat((real)t->parameter) - m);
#elif MAP == SOFTPICK
    return (real)t->parameter * vexp(-m);
#elif MAP == SIGMOID
    return splat(1);
#elif MAP == LINEAR || MAP == RELU
    return t->parameter != 0 ? n_visible : splat(1);
#else
    return splat(0);
#endif
}
INLINE vec log_level(const task *t, vec m) { /* log of the row's common factor */
    (void)t;
#if MAP == POWER || MAP == RELU_POWER
    return (real)t->parameter * vlog(m);
#elif MAP == SIGMOID || MAP == LINEAR || MAP == RELU
    return splat(0);
#else
    return m;
#endif
}
INLINE terms map(const task *t, vec s, vec m, int order) {
    const vec zero = splat(0);
    terms r;
    (void)t, (void)zero, (void)m, (void)order;
#if MAP == SOFTMAX
    r.f = r.f1 = r.f2 = r.g = r.g1 = r.g2 = vexp(s - m);
#elif MAP == SOFTPICK
    vec e = vexp(s - m), one = vexp(-m);
    ivec small = (s < (real)0.35) & (s > (real)-0.35);
    vec d = pick(small, exp_poly(pick(small, s, zero)) * one, e - one);
    vec sign = sign_of(s) * e;
    r.f = rectified(d), r.g = vabs(d);
    r.f1 = r.f2 = pick(s > 0, e, zero);
    r.g1 = r.g2 = sign;
#elif MAP == SIGMOID
    vec e = vexp(-vabs(s)), inv = 1 / (1 + e), p = pick(s >= 0, inv, e * inv), c = pick(s >= 0, e * inv, inv);
    r.f = p, r.f1 = p * c, r.f2 = p * c * (c - p);
    r.g = r.g1 = r.g2 = zero;
#elif MAP == LINEAR
    r.f = s, r.f1 = splat(1), r.f2 = r.g = r.g1 = r.g2 = zero;
#elif MAP == RELU
    r.f = rectified(s), r.f1 = pick(s > 0, splat(1), zero), r.f2 = r.g = r.g1 = r.g2 = zero;
#elif MAP == POWER || MAP == RELU_POWER
    int p = (int)t->parameter;
    vec x = (MAP == POWER ? s : rectified(s)) / m, sign = p & 1 ? sign_of(x) : splat(1);
    r.f = power_of(x, p), r.f1 = (real)p * power_of(x, p - 1) / m;
    r.f2 = p > 1 && order > 1 ? (real)(p * (p - 1)) * power_of(x, p - 2) / (m * m) : zero;
    if (MAP == RELU_POWER) r.f1 = pick(s > 0, r.f1, zero), r.f2 = pick(s > 0, r.f2, zero);
    r.g = vabs(r.f), r.g1 = sign * r.f1, r.g2 = sign * r.f2;
#elif MAP == SOFTPLUS
    vec e = vexp(-vabs(s)), inv = 1 / (1 + e), p = pick(s >= 0, inv, e * inv), c = pick(s >= 0, e * inv, inv);
    ivec tail = s < -15;
    vec factor = vexp(vmin(-m, splat(15))), rising = vexp(vmin(s - m, splat(1)));
    r.f = r.g = pick(tail, rising * (1 - (real)0.5 * e), (rectified(s) + vlog1p(e)) * factor);
    r.f1 = r.g1 = pick(tail, rising * c, p * factor);
    r.f2 = r.g2 = r.f1 * c;
#elif MAP == SIGNED
    vec e = vexp(vabs(s) - m), sign = sign_of(s);
    r.f = sign * e, r.f1 = sign * sign * e, r.f2 = sign * e;
    r.g = e, r.g1 = sign * e, r.g2 = sign * sign * e;
#endif
    return r;
}
#endif
INLINE terms nothing_if(ivec dead, terms r) {
    const vec zero = splat(0);
    r.f = pick(dead, zero, r.f), r.f1 = pick(dead, zero, r.f1), r.f2 = pick(dead, zero, r.f2);
    r.g = pick(dead, zero, r.g), r.g1 = pick(dead, zero, r.g1), r.g2 = pick(dead, zero, r.g2);
    return r;
}
