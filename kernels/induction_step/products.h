/* Matrix products of small matrices that stay in the cache: C[m][n] = (C[m][n] +) sum_k A(m, k) B[k][n].
 *
 * A lies in any order, A(m, k) = A[m * am + k * ak], because its numbers are broadcast; B and C have consecutive columns.
 * N is a multiple of BAND, the widest vector of the machine. Each entry is a sum over k in order, whatever the width.
 * Row lengths that are an odd multiple of 64 bytes keep the columns of a tile out of each other's cache sets.
 */
#ifndef PRODUCTS_H
#define PRODUCTS_H
#include "lanes.h"
#ifdef __AVX512F__
#define BAND_BYTES 64
#define TILE_ROWS 8
#else
#ifdef __AVX__
#define BAND_BYTES 32
#else
#define BAND_BYTES 16
#endif
#define TILE_ROWS 4
#endif
#define BAND ((int)(BAND_BYTES / sizeof(real)))
typedef real band __attribute__((vector_size(BAND_BYTES), aligned(sizeof(real)), may_alias));
typedef real loose __attribute__((vector_size(32), aligned(sizeof(real)), may_alias)); /* a vec anywhere in memory */

INLINE void tile(const int rows, const int bands, int64_t K, const real *A, int64_t am, int64_t ak, const real *B, int64_t ldb,
                 real *C, int64_t ldc, int add) {
    band sum[TILE_ROWS][2];
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 2") for (int c = 0; c < bands; c++) sum[r][c] = (band){0};
    for (int64_t k = 0; k < K; k++) {
        band b[2];
        _Pragma("GCC unroll 2") for (int c = 0; c < bands; c++) b[c] = *(const band *)(B + k * ldb + c * BAND);
        _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
            _Pragma("GCC unroll 2") for (int c = 0; c < bands; c++) sum[r][c] += A[r * am + k * ak] * b[c];
    }
    _Pragma("GCC unroll 8") for (int r = 0; r < rows; r++)
        _Pragma("GCC unroll 2") for (int c = 0; c < bands; c++) {
            band *to = (band *)(C + r * ldc + c * BAND);
            if (add) *to += sum[r][c];
            else *to = sum[r][c];
        }
}
NOINLINE void product(int64_t M, int64_t N, int64_t K, const real *A, int64_t am, int64_t ak, const real *B, int64_t ldb, real *C,
                      int64_t ldc, int add) {
    for (int64_t n = 0; n < N;) {
        const int two = n + 2 * BAND <= N;
        int64_t m = 0;
        for (; m + TILE_ROWS <= M; m += TILE_ROWS)
            if (two) tile(TILE_ROWS, 2, K, A + m * am, am, ak, B + n, ldb, C + m * ldc + n, ldc, add);
            else tile(TILE_ROWS, 1, K, A + m * am, am, ak, B + n, ldb, C + m * ldc + n, ldc, add);
        for (; m < M; m++)
            if (two) tile(1, 2, K, A + m * am, am, ak, B + n, ldb, C + m * ldc + n, ldc, add);
            else tile(1, 1, K, A + m * am, am, ak, B + n, ldb, C + m * ldc + n, ldc, add);
        n += two ? 2 * BAND : BAND;
    }
}
/* to[c][r] = from[r][c] for rows and columns that are multiples of LANES */
NOINLINE void turned(int64_t rows, int64_t columns, const real *from, int64_t ldf, real *to, int64_t ldt) {
    for (int64_t r = 0; r < rows; r += LANES)
        for (int64_t c = 0; c < columns; c += LANES) {
            vec v[LANES];
            for (int l = 0; l < LANES; l++) v[l] = *(const loose *)(from + (r + l) * ldf + c);
            transpose(v);
            for (int l = 0; l < LANES; l++) *(loose *)(to + (c + l) * ldt + r) = v[l];
        }
}
/* lane l: the sum of the lanes of v[l]; changes v */
INLINE vec lane_sums(vec v[LANES]) {
    transpose(v);
    vec sum = v[0];
    for (int l = 1; l < LANES; l++) sum += v[l];
    return sum;
}
#endif
