"""Recurrences run step by step, their Jacobians and ranks, gates over long times, and a recall task that they are trained on."""
