/* Numbers for a step from counters, one seed per lane: philox.h with the key in the lanes.
 *
 * Number a of part p at step t under a lane's seed is number a of sequence p at step t of that seed's stream in philox.py: normals by
 * Box-Muller, uniform numbers (w >> 8) / 2^24 of the same words.
 */
#include "philox.h"
#define WORDS (PHILOX_BYTES / 4) /* 32-bit lanes of a vector; it holds AT_ONCE blocks of all replicas */
#define AT_ONCE (WORDS / LANES)

typedef struct {
    wide low[2], high[2], block; /* keys of even and odd lanes; number of the lane's block in a vector */
} Keys;

static Keys keys_of(const uint64_t seeds[LANES]) {
    Keys k;
    for (int m = 0; m < WORDS / 2; m++) {
        for (int odd = 0; odd < 2; odd++) {
            uint64_t seed = seeds[(2 * m + odd) % LANES];
            k.low[odd][m] = seed & 0xffffffffu, k.high[odd][m] = seed >> 32;
        }
        k.block[m] = 2 * m / LANES;
    }
    return k;
}
INLINE void words_of(const Keys *k, uint64_t step, uint32_t part, uint32_t block, words32 words[2][4]) {
    const wide zero = {0};
    wide c[4][4], low[2] = {k->low[0], k->low[1]}, high[2] = {k->high[0], k->high[1]};
    for (int i = 0; i < 4; i++) { /* vector 0 even, odd, vector 1 even, odd */
        c[i][0] = k->block + (block + i / 2 * AT_ONCE), c[i][1] = zero + part;
        c[i][2] = zero + (step & 0xffffffffu), c[i][3] = zero + (step >> 32);
    }
    for (int round = 0; round < 10; round++)
        for (int odd = 0; odd < 2; odd++) {
            philox_round(c[odd], low[odd], high[odd]);
            philox_round(c[2 + odd], low[odd], high[odd]);
            low[odd] += 0x9E3779B9u, high[odd] += 0xBB67AE85u;
        }
    for (int v = 0; v < 2; v++)
        for (int i = 0; i < 4; i++) words[v][i] = (words32)((c[2 * v][i] & 0xffffffffu) | (c[2 * v + 1][i] << 32));
}
INLINE void put_numbers(const floats32 *x, int v, int i, int64_t block, int64_t n, vec *out) {
    for (int j = 0; j < AT_ONCE; j++) {
        int64_t a = 4 * (block + v * AT_ONCE + j) + i;
        if (a < n) memcpy(out + a, (const char *)x + sizeof(vec) * j, sizeof(vec));
    }
}
/* out[a] = start + width * z, the n numbers of a part */
NOINLINE void draw_normals(const Keys *k, uint64_t step, uint32_t part, int64_t n, float start, float width, vec *out) {
    for (int64_t block = 0; 4 * block < n; block += 2 * AT_ONCE) {
        words32 w[2][4];
        words_of(k, step, part, (uint32_t)block, w);
        for (int v = 0; v < 2; v++)
            for (int i = 0; i < 4; i += 2) {
                floats32 r = SQUARE_ROOT(minus_two_log((ints32)(w[v][i] >> 8) + 1)), z[2];
                turn(w[v][i + 1], r, &z[0], &z[1]);
                for (int h = 0; h < 2; h++) {
                    z[h] = start + width * z[h];
                    put_numbers(&z[h], v, i + h, block, n, out);
                }
            }
    }
}
NOINLINE void draw_uniforms(const Keys *k, uint64_t step, uint32_t part, int64_t n, float start, float width, vec *out) {
    for (int64_t block = 0; 4 * block < n; block += 2 * AT_ONCE) {
        words32 w[2][4];
        words_of(k, step, part, (uint32_t)block, w);
        for (int v = 0; v < 2; v++)
            for (int i = 0; i < 4; i++) {
                floats32 u = start + width * (__builtin_convertvector((ints32)(w[v][i] >> 8), floats32) * 5.9604644775390625e-8f);
                put_numbers(&u, v, i, block, n, out);
            }
    }
}
