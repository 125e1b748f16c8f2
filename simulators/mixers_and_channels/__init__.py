"""Convolutions, Fourier filters and channel gates on generic grids: what is measured of their operators."""
