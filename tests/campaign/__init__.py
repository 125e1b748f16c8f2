"""The laboratory under faults: a campaign of kills, damages and shortages, and the table of what came of it."""
