"""The operators of the atlas as they come: exact limits to each other, and pairs read back without training."""
