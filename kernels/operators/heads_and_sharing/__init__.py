"""Operators that combine heads, or share parts between heads and layers; one file per operator of the atlas."""
