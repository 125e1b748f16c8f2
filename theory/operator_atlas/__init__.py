"""What operators can be expected to do from their declared facts alone: recall from a state of given size."""
