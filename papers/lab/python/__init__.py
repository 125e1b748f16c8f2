"""The laboratory from Python: calls, what they return, and how that looks in a notebook."""
