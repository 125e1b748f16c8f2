/* Batches of the in-context classification task: from the counter-based stream, or from outside.
 *
 * Word w of a sequence is word w mod 4 of Philox block 2^31 + w div 4 of its counter; a choice of one of m is
 * floor(word m / 2^32). Words: 0 novel classes?, 1 bursty?, 2 start of the window, 3 which of the distinct classes is the
 * target; then, bursty: n distinct labels (a partial shuffle), n classes with these labels or by rank frequency, a shuffle
 * of the pairs from the last down; else: a class for each item and the target by rank frequency. Normals 0 to
 * (pairs + 1) dim - 1 of the sequence are the noise of its items and target; those of sequence 2^31 + c are the mean of
 * novel class c in this step.
 */
#ifndef BATCHES_H
#define BATCHES_H
#include "philox.h"
#include "products.h"
#include <math.h>

typedef struct {
    int64_t n_replicas, n_steps, first_step, batch, dim, pairs, positions, labels, classes, novel, burst, row;
    int64_t distinct_labels, label_shift, novel_below, bursty_below; /* below: 2^32 times the probabilities */
    double noise;
    const double *learning_rate, *decay; /* of each replica */
    const uint64_t *seed;              /* of each replica, unused if items is given */
    const int64_t *rank_below;         /* (classes): 2^32 times the cumulated frequencies */
    const real *class_means;           /* (replica, classes, dim) */
    const real *label_vectors;         /* (replica, labels, dim) */
    const real *items;                 /* (replica, step, batch, pairs + 1, dim), or NULL: generate */
    const int32_t *label, *target, *start; /* (replica, step, batch, pairs), (..., batch), (..., batch) */
    real *params, *gradient;           /* rows of length `row`; gradient of the last step, or NULL */
    double *loss;                      /* (replica, step), before the update */
    int64_t *diverged_at;              /* (replica), -1: never */
} run;

typedef struct {
    real *items;                     /* (sequence, pairs + 1, padded dim), the target's last, padded with zeros */
    int32_t *label, *target, *start; /* (sequence, pairs), (sequence), (sequence) */
    real *fresh;                     /* (novel, padded dim): means of novel classes, or NULL */
    int64_t *chosen;                 /* (sequence, pairs + 1): class of each item, novel classes from `classes` on */
    uint32_t *words;                 /* (words, LANES) */
    vec *numbers;
} batch_data;

INLINE int64_t up(int64_t x, int64_t to) { return (x + to - 1) / to * to; }
INLINE int64_t n_words(const run *r) {
    const int64_t distinct = 2 * (r->pairs / r->burst) + r->pairs, all = r->pairs + 1;
    return up(4 + (distinct > all ? distinct : all), 8);
}

#if REAL32
#define SEQUENCE_BLOCKS 0x80000000u
#define WORD(w) words[(w) * LANES + lane]
INLINE int64_t choice(uint32_t word, int64_t m) { return (int64_t)(((uint64_t)word * (uint64_t)m) >> 32); }

INLINE int64_t by_rank(const run *r, uint32_t word) {
    int64_t low = 0, high = r->classes - 1;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if ((int64_t)word < r->rank_below[middle]) high = middle;
        else low = middle + 1;
    }
    return low;
}

/* the class of each item and the target, the labels and the window of one sequence */
NOINLINE void choose(const run *r, const uint32_t *words, int lane, int64_t *shuffled, int64_t *chosen, int32_t *label,
                     int32_t *target, int32_t *start) {
    const int64_t N = r->pairs, L = r->labels, distinct = N / r->burst;
    const int novel = (int64_t)WORD(0) < r->novel_below, bursty = novel || (int64_t)WORD(1) < r->bursty_below;
    *start = (int32_t)choice(WORD(2), r->positions - 2 * N);
    if (bursty) {
        const int64_t count = novel ? r->novel : r->classes;
        for (int64_t l = 0; l < L; l++) shuffled[l] = l;
        for (int64_t c = 0; c < distinct; c++) {
            const int64_t at = c + choice(WORD(4 + c), L - c), l = shuffled[at];
            shuffled[at] = shuffled[c], shuffled[c] = l;
        }
        int64_t *class = shuffled + L, *order = class + distinct;
        for (int64_t c = 0; c < distinct; c++) {
            const uint32_t word = WORD(4 + distinct + c);
            class[c] = novel || r->distinct_labels ? shuffled[c] + L * choice(word, count / L) : by_rank(r, word);
        }
        for (int64_t i = 0; i < N; i++) order[i] = i / r->burst;
        for (int64_t i = N - 1; i >= 0; i--) {
            const int64_t at = choice(WORD(4 + 2 * distinct + i), i + 1), c = order[at];
            order[at] = order[i], order[i] = c;
        }
        for (int64_t i = 0; i < N; i++) chosen[i] = class[order[i]];
        chosen[N] = class[choice(WORD(3), distinct)];
    } else
        for (int64_t i = 0; i <= N; i++) chosen[i] = by_rank(r, WORD(4 + i));
    for (int64_t i = 0; i < N; i++) label[i] = (int32_t)((chosen[i] + r->label_shift) % L);
    *target = (int32_t)((chosen[N] + r->label_shift) % L);
    if (novel)
        for (int64_t i = 0; i <= N; i++) chosen[i] += r->classes;
}
/* dim normals per sequence as rows of a padded matrix: row i of sequence n at to + (n * rows + i) * ld */
NOINLINE void normal_rows(uint64_t seed, uint64_t step, uint32_t first, int64_t rows, int64_t dim, int64_t ld, vec *numbers,
                          real *to) {
    const int64_t total = rows * dim;
    for (int64_t b = 0; 4 * b < total; b += PHILOX_BLOCKS)
        philox_normals(seed, step, first, (uint32_t)b, numbers + 4 * b);
    for (int64_t i = 0; i < rows; i++) {
        real *lanes[LANES];
        for (int l = 0; l < LANES; l++) lanes[l] = to + (l * rows + i) * ld;
        unpack_flat(numbers + i * dim, dim, lanes, LANES);
    }
}
NOINLINE void generate(const run *r, int64_t replica, uint64_t step, batch_data *b) {
    const int64_t N = r->pairs, D = r->dim, ld = up(D, 16), words = n_words(r);
    const real unit = 1 / sqrtf((float)D), spread = (real)r->noise * unit;
    const real shrink = (real)(1 / sqrt(1 + r->noise * r->noise));
    const real *means = r->class_means + replica * r->classes * D;
    if (r->novel_below)
        for (int64_t c = 0; c < r->novel; c += LANES)
            normal_rows(r->seed[replica], step, SEQUENCE_BLOCKS + (uint32_t)c, 1, D, ld, b->numbers, b->fresh + c * ld);
    for (int64_t first = 0; first < r->batch; first += LANES) {
        for (int64_t w = 0; w < words; w += 4 * PHILOX_BLOCKS) {
            uvec found[PHILOX_BLOCKS][4];
            philox_words(r->seed[replica], step, (uint32_t)first, SEQUENCE_BLOCKS + (uint32_t)(w / 4), found);
            const int64_t left = words - w < 4 * PHILOX_BLOCKS ? words - w : 4 * PHILOX_BLOCKS;
            memcpy(b->words + w * LANES, found, (size_t)left * sizeof(uvec));
        }
        if (r->noise > 0)
            normal_rows(r->seed[replica], step, (uint32_t)first, N + 1, D, ld, b->numbers, b->items + first * (N + 1) * ld);
        for (int lane = 0; lane < LANES; lane++) {
            const int64_t s = first + lane;
            real *item = b->items + s * (N + 1) * ld;
            if (s >= r->batch) {
                memset(item, 0, (size_t)((N + 1) * ld) * sizeof(real));
                continue;
            }
            choose(r, b->words, lane, b->chosen + r->batch * (N + 1), b->chosen + s * (N + 1), b->label + s * N,
                   b->target + s, b->start + s);
            for (int64_t i = 0; i <= N; i++, item += ld) {
                const int64_t c = b->chosen[s * (N + 1) + i];
                const real *mean = c < r->classes ? means + c * D : b->fresh + (c - r->classes) * ld;
                const real size = (c < r->classes ? 1 : unit) * shrink, own = spread * shrink;
                if (r->noise > 0)
                    for (int64_t d = 0; d < D; d++) item[d] = size * mean[d] + own * item[d];
                else
                    for (int64_t d = 0; d < D; d++) item[d] = size * mean[d];
            }
        }
    }
}
#endif

NOINLINE void fetch(const run *r, int64_t replica, int64_t step, batch_data *b) {
    const int64_t N = r->pairs, D = r->dim, ld = up(D, 16), first = (replica * r->n_steps + step) * r->batch;
    for (int64_t i = 0; i < r->batch * (N + 1); i++)
        memcpy(b->items + i * ld, r->items + (first * (N + 1) + i) * D, (size_t)D * sizeof(real));
    memcpy(b->label, r->label + first * N, (size_t)(r->batch * N) * sizeof(int32_t));
    memcpy(b->target, r->target + first, (size_t)r->batch * sizeof(int32_t));
    memcpy(b->start, r->start + first, (size_t)r->batch * sizeof(int32_t));
}
#endif
