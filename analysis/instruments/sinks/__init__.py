"""Attention sinks and the states behind them; one instrument per file."""
