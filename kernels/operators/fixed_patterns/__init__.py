"""Patterns that do not look at content: windows, neighbourhoods, blocks, regions and layouts; one operator per file."""
