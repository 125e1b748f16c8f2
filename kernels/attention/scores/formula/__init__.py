"""Score maps that are given by a formula: parsed, split into pieces, made stable, written as code."""
