"""What the literature claims: one folder per fact sheet, and the laboratory they run in."""
