"""Behrouz et al. 2025: sequence layers as memories trained online, by their loss, their retention and their algorithm."""
