"""Information pathways: attention to random subsets of keys, their ensembles, and paths through random blocks."""
