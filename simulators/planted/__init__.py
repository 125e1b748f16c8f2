"""Models whose circuit is written down by hand: what an instrument should find in them is known."""
