"""Windows on the chip: the published sizes."""

from attnlab.theory.costs import short_windows


def test_window_kernels_fit_as_published():
    forward, backward, efficiency = short_windows.window_on_chip_bytes(49, element=2)
    assert (forward, backward) == (20480, 38912) and abs(efficiency - 0.586) < 5e-4
    forward, backward, _ = short_windows.window_on_chip_bytes(121, element=2)
    assert forward == 73728 and backward == 143360
    assert short_windows.window_on_chip_bytes(64)[2] == 1.0
