"""The atlas as a whole: where operators are one another, and what they recall from the state that a decoder keeps.

Letters: m pairs, V values, r the width of a key, S = r V the numbers of a linear memory.
"""
