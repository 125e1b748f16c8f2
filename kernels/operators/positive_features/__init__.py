"""Attention by positive random features; one file per operator of the atlas."""
