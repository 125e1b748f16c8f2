/* The loop over steps and groups of lanes, included at the end of a generated step.
 *
 * rows and states are (replica, parameter), numbers (replica, row_stride) with the numbers of step s at s * step_stride, packed[k]
 * the k-th other input as (group, entry, lane), rates and seeds (replica), factors (step, 2), losses (replica, step). With DRAWS the
 * numbers of a step are drawn here.
 */
int64_t scratch_bytes(int64_t n_numbers) {
    return (int64_t)sizeof(vec) * ((1 + STATES) * (int64_t)PARAMETERS + WHOLE + TILE + n_numbers + 1);
}
int lanes(void) { return LANES; }

static void row_starts(real *start[LANES], real *first, int64_t stride, int64_t low, int64_t n) {
    for (int l = 0; l < LANES; l++) start[l] = first + (low + (l < n ? l : 0)) * stride;
}

void run(int64_t n_replicas, int64_t n_steps, real *rows, real *const *states, const real *numbers, int64_t n_numbers,
         int64_t row_stride, int64_t step_stride, const vec *const *packed, const int64_t *sizes, const real *rates,
         const double *factors, real *losses, const uint64_t *seeds, int64_t first_step, vec *scratch_space) {
    vec *values = scratch_space, *state[STATES + 1], *whole = values + (1 + STATES) * (int64_t)PARAMETERS;
    vec *tile = whole + WHOLE, *drawn = tile + TILE;
    for (int s = 0; s < STATES; s++) state[s] = values + (1 + s) * (int64_t)PARAMETERS;
    for (int64_t low = 0; low < n_replicas; low += LANES) {
        int64_t n = n_replicas - low < LANES ? n_replicas - low : LANES;
        real *start[LANES];
        const vec *others[OTHERS + 1];
        for (int k = 0; k < OTHERS; k++) others[k] = packed[k] ? packed[k] + low / LANES * sizes[k] : drawn;
        row_starts(start, rows, PARAMETERS, low, n);
        pack_flat((const real *const *)start, PARAMETERS, values);
        for (int s = 0; s < STATES; s++) {
            row_starts(start, states[s], PARAMETERS, low, n);
            pack_flat((const real *const *)start, PARAMETERS, state[s]);
        }
#ifdef DRAWS
        uint64_t own[LANES];
        for (int l = 0; l < LANES; l++) own[l] = seeds[low + (l < n ? l : 0)];
        const Keys keys = keys_of(own);
#endif
        vec rate;
        for (int l = 0; l < LANES; l++) rate[l] = rates[low + (l < n ? l : 0)];
        for (int64_t s = 0; s < n_steps; s++) {
#ifdef DRAWS
            draw(&keys, (uint64_t)(first_step + s), drawn);
#else
            if (n_numbers) {
                row_starts(start, (real *)numbers + s * step_stride, row_stride, low, n);
                pack_flat((const real *const *)start, n_numbers, drawn);
            }
#endif
            step(values, state, others, whole, tile, rate, factors + 2 * s);
            for (int l = 0; l < n; l++) losses[(low + l) * n_steps + s] = whole[LOSS][l];
        }
        row_starts(start, rows, PARAMETERS, low, n);
        unpack_flat(values, PARAMETERS, start, (int)n);
        for (int s = 0; s < STATES; s++) {
            row_starts(start, states[s], PARAMETERS, low, n);
            unpack_flat(state[s], PARAMETERS, start, (int)n);
        }
    }
}
