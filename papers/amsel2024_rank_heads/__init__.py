"""Amsel, Yehudai and Bruna 2024: what attention heads of low rank cannot point at, however many there are.

Letters of the paper: d the dimension, r the rank of a head (Q K^T of rank r), H the number of heads, N of points; the target is
the point nearest to y, or in self-attention the farthest. Errors are squared distances summed over coordinates.
"""
