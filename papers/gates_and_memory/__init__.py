"""Gates, decay and memory: compressive memories, damped averages, localized filters, neighbours and extractors.

Letters: N pairs in a memory, s the spread of keys, g the gain of a needle, q the factor of an average per token, L layers.
"""
