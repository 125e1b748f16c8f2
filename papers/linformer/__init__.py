"""Linformer: attention through projections of the tokens, and what its two theorems say."""
