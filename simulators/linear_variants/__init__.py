"""Variants of linear attention on generic and planted inputs: what is measured of their operators."""
