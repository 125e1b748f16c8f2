/* What the C code of a formula calls beside the functions of lanes.h. */
#ifndef FORMULA_FUNCTIONS_H
#define FORMULA_FUNCTIONS_H

/* log(1 + u) / u for 0 <= u <= 1 */
INLINE vec log1p_over_unit(vec u) {
    const vec inv = 1 / (u + 2), z = u * inv;
    return inv * atanh_series(z * z, REAL32 ? 8 : 17);
}
/* the same for u > -1: the rounding of 1 + u is undone by the same difference in the denominator */
INLINE vec log1p_over(vec u) {
    const vec one = splat(1), w = one + u;
    const ivec same = w == one;
    return pick(same, one, vlog(pick(same, one + one, w)) / pick(same, one, w - one));
}
/* e^-x and 1 - e^-x for x >= 0 by one polynomial: where e^-x needs no shift, the polynomial is the difference itself */
INLINE vec exp_and_difference(vec x, vec *difference) {
    TALLY(exponentials, LANES);
#if REAL32
    const vec t = x * -1.44269504088896341f + 12582912.0f, n = t - 12582912.0f;
    const vec r = (-x - n * 0.693359375f) - n * -2.12194440e-4f, p = exp_poly(r);
    const vec y = (vec)((uvec)(p + 1.0f) + ((uvec)t << 23));
#else
    const vec t = x * -1.44269504088896341 + 6755399441055744.0, n = t - 6755399441055744.0;
    const vec r = (-x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10, p = exp_poly(r);
    const vec y = (vec)((uvec)(p + 1.0) + ((uvec)t << 52));
#endif
    const vec e = pick(x > -EXP_LOWEST, splat(0), y);
    *difference = pick(n == 0, -p, 1 - e);
    return e;
}
INLINE vec sqrt_of(vec x) {
    vec r;
    for (int l = 0; l < LANES; l++) r[l] = REAL32 ? (real)sqrtf((float)x[l]) : (real)sqrt((double)x[l]);
    return r;
}
/* x^p for x >= 0 and a fraction p > 0, or x > 0 */
INLINE vec root_of(vec x, double p) { return pick(x > 0, vexp((real)p * vlog(pick(x > 0, x, splat(1)))), splat(0)); }
#endif
