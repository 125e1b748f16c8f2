"""Attention by hashing; one file per operator of the atlas."""
