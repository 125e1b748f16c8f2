/* What generated steps use beside lanes.h: functions on all finite and infinite numbers and NaN, and reads at places that are data.
 *
 * A lane never sees another one: a NaN stays in its lane, and a place that is no number is place 0.
 */
#ifndef GENERATED_H
#define GENERATED_H
#include "lanes.h"
#if REAL32
#define HUGE_NUMBER __builtin_inff()
#define NO_NUMBER __builtin_nanf("")
#define EXP_HIGHEST 88.7228317f
#define EXP_SAFE 87.0f
#define TANH_ONE 20.0f
#define ROUNDING 8388608.0f
#else
#define HUGE_NUMBER __builtin_inf()
#define NO_NUMBER __builtin_nan("")
#define EXP_HIGHEST 709.782712893383973096
#define EXP_SAFE 708.0
#define TANH_ONE 40.0
#define ROUNDING 4503599627370496.0
#endif

/* as torch.maximum, minimum: a NaN in either is NaN */
INLINE vec larger(vec a, vec b) { return pick((a > b) | (a != a), a, b); }
INLINE vec smaller(vec a, vec b) { return pick((a < b) | (a != a), a, b); }
INLINE vec whole(vec x) { /* towards zero; numbers beyond 2^23 (2^52) are whole */
    vec a = vabs(x), t = pick(a < ROUNDING, a, splat(0));
    vec n = (t + ROUNDING) - ROUNDING;
    n = n - pick(n > t, splat(1), splat(0));
    n = pick(a < ROUNDING, n, a);
    return pick(x < 0, -n, pick(x != x, x, n));
}
INLINE vec floor_of(vec x) {
    vec n = whole(x);
    return n - pick(n > x, splat(1), splat(0));
}
#if defined(__has_builtin) && defined(__clang__)
INLINE vec root(vec x) { return __builtin_elementwise_sqrt(x); }
#else
INLINE vec root(vec x) {
    real t[LANES];
    memcpy(t, &x, sizeof t);
    for (int l = 0; l < LANES; l++) t[l] = REAL32 ? __builtin_sqrtf(t[l]) : __builtin_sqrt(t[l]);
    memcpy(&x, t, sizeof t);
    return x;
}
#endif
INLINE vec exp_of(vec x) {
    vec y = vexp(pick(x > EXP_SAFE, x - 1, x));
    y = pick(x > EXP_SAFE, y * (real)2.71828182845904523536, y);
    return pick(x > EXP_HIGHEST, splat(HUGE_NUMBER), y);
}
INLINE vec log_of(vec x) {
    vec y = vlog(x);
    y = pick(x == 0, splat(-HUGE_NUMBER), y);
    y = pick(x == HUGE_NUMBER, x, y);
    return pick((x < 0) | (x != x), splat(NO_NUMBER), y);
}
INLINE vec log1p_of(vec x) { /* Kahan: the rounding error of 1 + x is known */
    vec u = x + 1, d = u - 1;
    vec y = log_of(u) * (x / pick(d == 0, splat(1), d));
    return pick((d == 0) | (x == HUGE_NUMBER), x, y);
}
INLINE vec tanh_of(vec x) { /* e^2|x| - 1 = 2^n p + (2^n - 1), p = e^r - 1, without cancellation */
    vec y = vabs(x) * 2;
    y = pick(y > TANH_ONE, splat(TANH_ONE), y);
#if REAL32
    vec t = y * 1.44269504088896341f + 12582912.0f, n = t - 12582912.0f;
    vec r = y - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    vec s = (vec)(((uvec)t << 23) + 0x3f800000u);
#else
    vec t = y * 1.44269504088896341 + 6755399441055744.0, n = t - 6755399441055744.0;
    vec r = y - n * 6.93147180369123816490e-01;
    r = r - n * 1.90821492927058770002e-10;
    vec s = (vec)(((uvec)t << 52) + 0x3ff0000000000000u);
#endif
    vec e = s * exp_poly(r) + (s - 1);
    vec h = e / (e + 2);
    return pick(x < 0, -h, pick(x != x, x, h));
}

INLINE ivec inside(vec x, int64_t n) { /* a place from 0 to n - 1 */
    vec kept = pick(x > 0, pick(x < (real)(n - 1), x, splat((real)(n - 1))), splat(0));
    return __builtin_convertvector(kept, ivec);
}
INLINE vec take_lanes(const vec *p, ivec place) {
    vec r;
    for (int l = 0; l < LANES; l++) r[l] = ((const real *)p)[(int64_t)place[l] * LANES + l];
    return r;
}
INLINE vec take_table(const real *p, ivec place) {
    vec r;
    for (int l = 0; l < LANES; l++) r[l] = p[place[l]];
    return r;
}
#endif
