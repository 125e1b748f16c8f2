"""How attention is computed: one folder an operation, each with a readable reference and its fast paths.

>>> from attnlab.kernels.attention import attention        # doctest: +SKIP
"""
