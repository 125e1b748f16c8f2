"""Linear log-normal attention: entries and spectrum of softmax attention, and sums of log-normal numbers."""
