"""One softmax over source and target: how much of it the source keeps, how outputs feel it, and how depth carries it on."""
