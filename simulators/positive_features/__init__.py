"""Random features of softmax's kernel, integrated, drawn and counted."""
