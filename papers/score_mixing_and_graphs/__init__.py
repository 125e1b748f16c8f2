"""Score mixing and graph attention: kernels on scores, edge scores of two classes, sums and means of copies.

Letters: kappa a kernel of scores, B letters of a block, m distance of class means, d width, m copies.
"""
