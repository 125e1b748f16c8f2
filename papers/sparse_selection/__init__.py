"""Selection by content: what is kept, what routing hits and misses, and what each operator's identity is.

Letters: n keys, scores of spread s, f the share kept, g the mass kept, rho a correlation, A a planted score, B keys of a block.
"""
