"""What each operation of torch becomes in the graph of a training step: one rule per operation, by its name."""
