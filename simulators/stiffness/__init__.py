"""Step sizes, gates and stiffness of flows and residual networks."""
