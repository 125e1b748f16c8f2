"""Training many replicas at once: trainer, plan, optimisers, schedules, streams, settings, simulations."""
