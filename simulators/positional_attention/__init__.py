"""Positional heads on grids: what they weigh, how near they come to convolutions, and where their gates go in training."""
