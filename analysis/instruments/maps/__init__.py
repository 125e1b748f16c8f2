"""What a single map shows: targets, entropy, templates, distance; one instrument per file."""
