"""Operators that mix tokens in time linear in their number, or near it; one file per operator of the atlas."""
