"""Laws of random score matrices, and what approximations of softmax attention err on them; shared by the operators' laws."""
