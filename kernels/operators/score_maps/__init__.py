"""Other ways from a row of scores to a row of weights than softmax."""
