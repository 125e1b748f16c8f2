"""Training steps generated as C from a traced loss, the replicas in the lanes of a vector."""
