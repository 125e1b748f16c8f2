"""Data laws that several subjects train on; one task a file, held to one protocol."""
