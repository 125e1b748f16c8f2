"""What the mathematics says: closed forms, bounds, limits, constructions; one folder per subject, pure float64 functions."""
