"""Attention through projections and landmarks of the tokens; one file per operator of the atlas."""
