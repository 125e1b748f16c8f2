"""Pointing at the nearest vector with heads of low and of full rank."""
