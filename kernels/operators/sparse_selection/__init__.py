"""Selection of keys by content, by cheap scores, by groups or at random; one operator per file."""
