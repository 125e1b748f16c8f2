"""What the parts of a model do to its output; one instrument per file."""
