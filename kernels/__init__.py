"""How attention is computed: one folder per operation, each with a readable reference and its fast paths.

>>> from attnlab.kernels.attention import attention        # doctest: +SKIP
"""
