/* Vectors whose lanes are different sequences, with the few functions attention needs.
 *
 * REAL32 = 1: 8 floats, 0: 4 doubles, 32 bytes in both cases; with WIDE on a machine with AVX-512 64 bytes, which is up to
 * 1.4 times as fast there (a type wider than the registers costs up to 5x). What a lane computes does not depend on it. Only gcc/clang vector extensions, no intrinsics. Do not compile with -ffast-math:
 * reassociation removes the rounding trick in vexp.
 */
#ifndef LANES_H
#define LANES_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef REAL32
#define REAL32 1
#endif
#if defined(WIDE) && defined(__AVX512F__)
#define VECTOR_BYTES 64
#else
#define VECTOR_BYTES 32
#endif
#if REAL32
typedef float real;
typedef int32_t ireal;
typedef uint32_t ureal;
#define LANES (VECTOR_BYTES / 4)
#else
typedef double real;
typedef int64_t ireal;
typedef uint64_t ureal;
#define LANES (VECTOR_BYTES / 8)
#endif
typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef ireal ivec __attribute__((vector_size(VECTOR_BYTES)));
typedef ureal uvec __attribute__((vector_size(VECTOR_BYTES)));
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline, unused))

/* What a build with -DCOUNT does, counted where it is done and for all lanes: multiply-adds of the products, exponentials,
 * and bytes of the operands read and written. Other builds have no trace of it. */
#ifdef COUNT
struct { uint64_t multiply_adds, exponentials, bytes_read, bytes_written; } work_done;
#define TALLY(what, n) (work_done.what += (uint64_t)(n))
#else
#define TALLY(what, n) ((void)0)
#endif
#define FMA(n) TALLY(multiply_adds, LANES *(n)) /* n vector multiply-adds */

INLINE vec splat(real x) {
    vec r = {0};
    for (int l = 0; l < LANES; l++) r[l] = x;
    return r;
}
INLINE vec pick(ivec where, vec yes, vec no) { return (vec)((where & (ivec)yes) | (~where & (ivec)no)); }
INLINE vec vmax(vec a, vec b) { return pick(a > b, a, b); }
INLINE vec vmin(vec a, vec b) { return pick(a < b, a, b); }
INLINE vec vabs(vec a) { return pick(a < 0, -a, a); }
INLINE vec rectified(vec a) { return pick(a < 0, splat(0), a); } /* max(a, 0), but NaN stays NaN */
INLINE real vsum(vec a) { /* a fixed order, so that results do not depend on the compiler's choice */
    real t[LANES];
    memcpy(t, &a, sizeof t);
    for (int w = LANES / 2; w; w /= 2)
        for (int l = 0; l < w; l++) t[l] += t[l + w];
    return t[0];
}

/* exp for x <= 88 (709 in double): round x/ln 2 by the 1.5 * 2^23 trick, two-part ln 2, polynomial, exponent added as an
 * integer. Relative error 1e-7 (3e-16). Below -87 (-708) the result is 0; NaN stays NaN. */
#if REAL32
#define EXP_LOWEST (-87.0f)
#define TINIEST 1.17549435e-38f /* the smallest normal number */
INLINE vec exp_poly(vec r) { /* (e^r - 1) for |r| <= 0.35 */
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return p * r * r + r;
}
INLINE vec vexp(vec x) {
    TALLY(exponentials, LANES);
    vec t = x * 1.44269504088896341f + 12582912.0f, n = t - 12582912.0f;
    vec r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec p = exp_poly(r) + 1.0f;
    vec y = (vec)((uvec)p + ((uvec)t << 23));
    return pick(x >= EXP_LOWEST, y, rectified(x)); /* the rounding trick would make numbers of some NaN */
}
#else
#define EXP_LOWEST (-708.0)
#define TINIEST 2.2250738585072014e-308
INLINE vec exp_poly(vec r) {
    static const double c[] = {1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880,
                               1.0 / 40320, 1.0 / 5040, 1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5};
    vec p = splat(c[0]);
    for (int i = 1; i < 12; i++) p = p * r + c[i];
    return p * r * r + r;
}
INLINE vec vexp(vec x) {
    TALLY(exponentials, LANES);
    vec t = x * 1.44269504088896341 + 6755399441055744.0, n = t - 6755399441055744.0;
    vec r = x - n * 6.93147180369123816490e-01;
    r = r - n * 1.90821492927058770002e-10;
    vec p = exp_poly(r) + 1.0;
    vec y = (vec)((uvec)p + ((uvec)t << 52));
    return pick(x >= EXP_LOWEST, y, rectified(x));
}
#endif

/* 2 atanh(z) / z for z^2 <= 1/9, so log(a/b) = z * series with z = (a - b)/(a + b). */
INLINE vec atanh_series(vec z2, int terms) {
    vec p = splat((real)2 / (2 * terms + 1));
    for (int i = terms - 1; i >= 0; i--) p = p * z2 + (real)2 / (2 * i + 1);
    return p;
}
/* log(1 + u) for 0 <= u <= 1 */
INLINE vec vlog1p(vec u) {
    vec z = u / (u + 2);
    return z * atanh_series(z * z, REAL32 ? 8 : 17);
}
/* log of positive normal numbers; relative error a few ulp, absolute near 1; NaN stays NaN */
INLINE vec vlog(vec x) {
#if REAL32
    ivec e = (ivec)(((uvec)x >> 23)) - 127;
    vec m = (vec)(((uvec)x & 0x007fffffu) | 0x3f800000u);
#else
    ivec e = (ivec)(((uvec)x >> 52)) - 1023;
    vec m = (vec)(((uvec)x & 0x000fffffffffffffull) | 0x3ff0000000000000ull);
#endif
    ivec big = m > (real)1.41421356237309515;
    m = pick(big, m * (real)0.5, m);
    e = e - big; /* true is -1 */
    vec z = (m - 1) / (m + 1), n = __builtin_convertvector(e, vec);
    vec y = z * atanh_series(z * z, REAL32 ? 5 : 11);
#if REAL32
    y = n * 0.693359375f + (y + n * -2.12194440e-4f);
#else
    y = n * 6.93147180369123816490e-01 + (y + n * 1.90821492927058770002e-10);
#endif
    return pick(x == x, y, x);
}

/* LANES x LANES transpose of rows that lie at src[lane] into dst[0..LANES), and back. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUF __builtin_shufflevector
#if VECTOR_BYTES == 64
/* log2(LANES) rounds; round k exchanges blocks of 2^k numbers between rows that lie 2^k apart */
#if REAL32
#define SWAP_1(a, b) SHUF(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
#define KEEP_1(a, b) SHUF(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31)
#define SWAP_2(a, b) SHUF(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define KEEP_2(a, b) SHUF(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define SWAP_4(a, b) SHUF(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
#define KEEP_4(a, b) SHUF(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)
#define SWAP_8(a, b) SHUF(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define KEEP_8(a, b) SHUF(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#else
#define SWAP_1(a, b) SHUF(a, b, 0, 8, 2, 10, 4, 12, 6, 14)
#define KEEP_1(a, b) SHUF(a, b, 1, 9, 3, 11, 5, 13, 7, 15)
#define SWAP_2(a, b) SHUF(a, b, 0, 1, 8, 9, 4, 5, 12, 13)
#define KEEP_2(a, b) SHUF(a, b, 2, 3, 10, 11, 6, 7, 14, 15)
#define SWAP_4(a, b) SHUF(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define KEEP_4(a, b) SHUF(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#endif
#define ROUND(k)                                                                \
    for (int i = 0; i < LANES; i += 2 * k)                                      \
        for (int j = i; j < i + k; j++) {                                       \
            const vec a = r[j], b = r[j + k];                                   \
            r[j] = SWAP_##k(a, b), r[j + k] = KEEP_##k(a, b);                   \
        }
INLINE void transpose(vec r[LANES]) {
    ROUND(1) ROUND(2) ROUND(4)
#if REAL32
    ROUND(8)
#endif
}
#elif REAL32
INLINE void transpose(vec r[8]) {
    vec t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = SHUF(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        t[i + 1] = SHUF(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            u[i + 2 * j] = SHUF(t[i + j], t[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            u[i + 2 * j + 1] = SHUF(t[i + j], t[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = SHUF(u[i], u[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        r[i + 4] = SHUF(u[i], u[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}
#else
INLINE void transpose(vec r[4]) {
    vec a = SHUF(r[0], r[1], 0, 4, 2, 6), b = SHUF(r[0], r[1], 1, 5, 3, 7);
    vec c = SHUF(r[2], r[3], 0, 4, 2, 6), d = SHUF(r[2], r[3], 1, 5, 3, 7);
    r[0] = SHUF(a, c, 0, 1, 4, 5), r[1] = SHUF(b, d, 0, 1, 4, 5);
    r[2] = SHUF(a, c, 2, 3, 6, 7), r[3] = SHUF(b, d, 2, 3, 6, 7);
}
#endif
#else
INLINE void transpose(vec r[LANES]) {
    vec t[LANES];
    for (int i = 0; i < LANES; i++)
        for (int l = 0; l < LANES; l++) t[i][l] = r[l][i];
    memcpy(r, t, sizeof t);
}
#endif

/* n consecutive numbers of each lane's sequence, as n vectors; and the way back. */
NOINLINE void pack_flat(const real *const src[LANES], int64_t n, vec *dst) {
    TALLY(bytes_read, n * (int64_t)sizeof(vec));
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec r[LANES];
        for (int l = 0; l < LANES; l++) memcpy(&r[l], src[l] + i, sizeof(vec));
        transpose(r);
        for (int l = 0; l < LANES; l++) dst[i + l] = r[l];
    }
    for (; i < n; i++)
        for (int l = 0; l < LANES; l++) ((real *)(dst + i))[l] = src[l][i];
}
NOINLINE void unpack_flat(const vec *src, int64_t n, real *const dst[LANES], int n_lanes) {
    TALLY(bytes_written, n * n_lanes * (int64_t)sizeof(real));
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec r[LANES];
        for (int l = 0; l < LANES; l++) r[l] = src[i + l];
        transpose(r);
        for (int l = 0; l < n_lanes; l++) memcpy(dst[l] + i, &r[l], sizeof(vec));
    }
    for (; i < n; i++)
        for (int l = 0; l < n_lanes; l++) dst[l][i] = ((const real *)(src + i))[l];
}

/* Whether every one of n vectors is finite in every lane. */
NOINLINE int lanes_finite(const vec *x, int64_t n) {
    vec bad = splat(0);
    for (int64_t i = 0; i < n; i++) bad += x[i] * 0; /* infinity times zero is NaN, and NaN stays */
    return vsum(bad) == 0;
}

#define NO_MEMORY 1 /* what a kernel answers when its scratch cannot be had; 0 otherwise */

/* 64-byte aligned scratch of n vectors, or NULL; the caller frees it. */
INLINE vec *scratch(int64_t n) { return (vec *)aligned_alloc(64, ((size_t)n * sizeof(vec) + 63) / 64 * 64 + 64); }
#endif
