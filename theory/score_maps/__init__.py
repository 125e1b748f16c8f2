"""Laws and costs of score maps beside softmax; one file per operator of the atlas."""
