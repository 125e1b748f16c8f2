"""Mixed scores and edge scores on planted blocks, classes and copies: what is measured of their operators."""
