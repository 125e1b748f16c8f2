"""Support-vector programs that trained attention converges to, their certificates and rates."""
