"""The second-moment model of long-context scores: the mass of far keys without reading them, and where rows freeze."""
