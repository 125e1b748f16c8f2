"""Random scores and what softmax, temperatures and gates make of them."""
