"""Sparse selection: what is retained, hit and missed; shared laws beside one file per operator."""
