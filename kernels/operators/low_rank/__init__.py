"""Operators through fewer tokens than there are: latents and pools; one file per operator of the atlas."""
