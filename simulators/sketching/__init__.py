"""Attention through random projections and landmarks, drawn, iterated and counted."""
