"""How many keys softmax attention attends to when its logits are Gaussian."""
