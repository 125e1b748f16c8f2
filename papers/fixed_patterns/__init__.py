"""Patterns that do not look at content: reach and influence of stacks, halos, strides, pooled branches, cells, regions.

Letters: k cells of a window, L layers, b cells of a block, h of a halo, f thinning factor, s spread of scores or cells of a pool.
"""
