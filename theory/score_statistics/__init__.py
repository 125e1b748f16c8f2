"""Scores as random numbers: entropy, spikiness and dilution of softmax rows, and what a temperature does to them."""
