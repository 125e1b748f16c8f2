"""The scores that attention began with: dot product, Luong, pointers, several sources, location-relative maps, routing.

Letters: n keys of width d, W_j the weights of a row, s the spread of its scores, v the read-out of an additive score.
"""
