"""Blockwise linear attention: the FLOPs of its products, one by one."""

from attnlab.theory.costs import lightning


def test_lightning_flops_are_those_of_its_products():
    n, d, block = 48, 5, 8
    per_block = [2 * block * block * d] * 2 + [2 * block * d * d] * 2  # Q K^T, scores V, Q S, K^T V
    forward, backward = lightning.lightning_flops(n, d, block)
    assert forward == n // block * sum(per_block)
    # dQ: dO V^T, its product with K, dO S^T, state K^T V; dK, dV: Q K^T, dO V^T, two products, and with the state
    assert backward == n // block * (6 * 2 * block * block * d + 5 * 2 * block * d * d)
    assert 2.5 < backward / forward < 3
    assert (
        abs(lightning.lightning_speedup(4096, 64, 64) - 32) < 1e-12
        and abs(lightning.lightning_speedup(4096, 64, 256) - 12.8) < 1e-12
    )
