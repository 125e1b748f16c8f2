"""Linear attention trained in context: risks, drops, staircases, learning curves."""
