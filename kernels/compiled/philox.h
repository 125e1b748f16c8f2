/* Standard normals from a counter: Philox 4x32-10 and Box-Muller, for 8 sequences in the lanes of a vector.
 *
 * The number a of sequence n at step t under a 64-bit seed is a function of (seed, n, t, a) alone, so that any machine, GPU
 * included, can make the same stream in any order. Counter = (block, sequence, low and high word of the step), key = the
 * seed; block b holds the numbers 4b .. 4b+3: words w0..w3 give r = sqrt(-2 log u), u = ((w0 >> 8) + 1) / 2^24,
 * t = (w1 >> 8) / 2^24, numbers r cos(2 pi t), r sin(2 pi t), then the same from w2, w3. ``philox.py`` is the reference.
 *
 * The 32-bit words live in the low halves of 64-bit lanes: one multiplication yields both halves of a product, and what
 * is left above them is ignored by the next. Even sequences are in one vector, odd ones in the other, so that joining
 * them is a shift and a mask.
 */
#ifndef PHILOX_H
#define PHILOX_H
#include "lanes.h"
#if REAL32
#ifdef __AVX2__
#include <immintrin.h>
#endif
/* BLOCKS_A_VECTOR blocks of all sequences share a vector of 64 bytes where the machine has them */
#ifdef __AVX512F__
#define PHILOX_BYTES 64
#else
#define PHILOX_BYTES 32
#endif
#define BLOCKS_A_VECTOR (PHILOX_BYTES / 32)
#define PHILOX_BLOCKS (2 * BLOCKS_A_VECTOR) /* made at once, two vectors to hide the latency */
typedef uint64_t wide __attribute__((vector_size(PHILOX_BYTES)));
typedef uint32_t words32 __attribute__((vector_size(PHILOX_BYTES)));
typedef int32_t ints32 __attribute__((vector_size(PHILOX_BYTES)));
typedef float floats32 __attribute__((vector_size(PHILOX_BYTES)));
/* gcc does not see that the high halves are not wanted and would take a slow 64-bit product */
#if defined(__AVX512F__)
#define LOW_PRODUCT(a, m) ((wide)_mm512_mul_epu32((__m512i)(a), _mm512_set1_epi64((long long)(m))))
#define SQUARE_ROOT(x) ((floats32)_mm512_sqrt_ps((__m512)(x)))
#elif defined(__AVX2__)
#define LOW_PRODUCT(a, m) ((wide)_mm256_mul_epu32((__m256i)(a), _mm256_set1_epi64x((long long)(m))))
#define SQUARE_ROOT(x) ((floats32)_mm256_sqrt_ps((__m256)(x)))
#else
#define LOW_PRODUCT(a, m) (((a) & 0xffffffffu) * (uint64_t)(m))
#define SQUARE_ROOT(x) square_roots(x)
INLINE floats32 square_roots(floats32 x) {
    for (int l = 0; l < PHILOX_BYTES / 4; l++) x[l] = __builtin_sqrtf(x[l]);
    return x;
}
#endif

INLINE void philox_round(wide c[4], wide k0, wide k1) {
    wide p0 = LOW_PRODUCT(c[0], 0xD2511F53u), p1 = LOW_PRODUCT(c[2], 0xCD9E8D57u);
    c[0] = (p1 >> 32) ^ c[1] ^ k0;
    c[1] = p1;
    c[2] = (p0 >> 32) ^ c[3] ^ k1;
    c[3] = p0;
}
/* words[v][0..3]: lane 8 j + n of vector v holds sequence first + n of block + BLOCKS_A_VECTOR v + j */
INLINE void philox_vectors(uint64_t seed, uint64_t step, uint32_t first, uint32_t block, words32 words[2][4]) {
    const wide zero = {0};
#ifdef __AVX512F__
    const wide ramp = {0, 2, 4, 6, 0, 2, 4, 6}, next = {0, 0, 0, 0, 1, 1, 1, 1};
#else
    const wide ramp = {0, 2, 4, 6}, next = {0};
#endif
    wide c[4][4]; /* vector 0 even, odd, vector 1 even, odd */
    for (int i = 0; i < 4; i++) {
        c[i][0] = next + (block + i / 2 * BLOCKS_A_VECTOR), c[i][1] = ramp + (first + i % 2);
        c[i][2] = zero + (step & 0xffffffffu), c[i][3] = zero + (step >> 32);
    }
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 4; i++) philox_round(c[i], zero + k0, zero + k1);
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 4; i++) words[v][i] = (words32)((c[2 * v][i] & 0xffffffffu) | (c[2 * v + 1][i] << 32));
}
/* to[0], to[stride], ..: the 32 bytes of x for each block */
INLINE void split_blocks(const void *x, vec *to, int stride) {
    for (int j = 0; j < BLOCKS_A_VECTOR; j++) memcpy(to + j * stride, (const char *)x + 32 * j, 32);
}
/* words[b][0..3] of PHILOX_BLOCKS blocks: lane n holds sequence first + n */
INLINE void philox_words(uint64_t seed, uint64_t step, uint32_t first, uint32_t block, uvec words[PHILOX_BLOCKS][4]) {
    words32 w[2][4];
    philox_vectors(seed, step, first, block, w);
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 4; i++) split_blocks(&w[v][i], (vec *)&words[v * BLOCKS_A_VECTOR][i], 4);
}
/* -2 log(k / 2^24) for integers 1 <= k <= 2^24: exponent and near-minimax polynomial of -2 log(1 + y) / y on
 * [1/sqrt 2, sqrt 2], no division. Relative error 2e-7. */
INLINE floats32 minus_two_log(ints32 k) {
    const ureal centre = 0x3f3504f3u + (24u << 23); /* bits of 2^24 / sqrt 2 */
    words32 bits = (words32)__builtin_convertvector(k, floats32) - centre;
    floats32 e = __builtin_convertvector((ints32)bits >> 23, floats32), y = (floats32)((bits & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
    floats32 p = 1.4902372454e-1f * y - 2.5613220870e-1f;
    p = p * y + 2.6532062722e-1f;
    p = p * y - 2.8399300196e-1f;
    p = p * y + 3.3216738828e-1f;
    p = p * y - 4.0001878881e-1f;
    p = p * y + 5.0003158198e-1f;
    p = p * y - 6.6666690700e-1f;
    p = p * y + 9.9999976992e-1f;
    p = p * y - 1.9999999988f;
    return e * -1.38629436111989061883f + p * y;
}
/* r cos(2 pi t), r sin(2 pi t) for t = (w >> 8) / 2^24: with the top bit h of w and x = t - h/2 - 1/4 in [-1/4, 1/4),
 * cos(2 pi t) = -(-1)^h sin(2 pi x) and sin(2 pi t) = (-1)^h cos(2 pi x). Absolute error 6e-8 r. */
INLINE void turn(words32 w, floats32 r, floats32 *cosine, floats32 *sine) {
    floats32 x = __builtin_convertvector((ints32)((w << 1) ^ 0x80000000u) >> 9, floats32) * 3.74507017e-7f, x2 = x * x;
    floats32 s = -2.6051076353e-6f * x2 + 1.9809017409e-4f;
    s = s * x2 - 8.3330501707e-3f;
    s = s * x2 + 1.6666657948e-1f;
    s = s * x2 - 9.9999999570e-1f;
    floats32 c = 2.3152416660e-5f * x2 - 1.3853629536e-3f;
    c = c * x2 + 4.1663573160e-2f;
    c = c * x2 - 4.9999904778e-1f;
    c = c * x2 + 9.9999995303e-1f;
    r = (floats32)((words32)r ^ (w & 0x80000000u));
    *cosine = s * (x * r);
    *sine = c * r;
}
/* the 4 PHILOX_BLOCKS numbers of PHILOX_BLOCKS blocks */
INLINE void philox_normals(uint64_t seed, uint64_t step, uint32_t first, uint32_t block, vec out[4 * PHILOX_BLOCKS]) {
    words32 w[2][4];
    philox_vectors(seed, step, first, block, w);
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 4; i += 2) {
            floats32 r = SQUARE_ROOT(minus_two_log((ints32)(w[v][i] >> 8) + 1)), cosine, sine;
            turn(w[v][i + 1], r, &cosine, &sine);
            split_blocks(&cosine, out + 4 * BLOCKS_A_VECTOR * v + i, 4), split_blocks(&sine, out + 4 * BLOCKS_A_VECTOR * v + i + 1, 4);
        }
}
#endif
#endif
