"""Score mixing and graphs: what mixed scores, edge scores and networks after a mean can tell; one operator per file."""
