"""The scores attention began with: dot products, additive scores, pointers, several sources, locations."""
