"""Fu, Guo, Bai and Mei 2023: what one attention layer with random heads learns, and from how many samples.

Letters of the paper: tokens x_0 (query) and x_1 .. x_N (keys) on the unit sphere of R^d, M heads with query-key
products W_m, n samples. Targets: b_p is the mean over keys of <beta, x_i>^p, s_p of <x_0, x_i>^p, each minus its
expectation.
"""
