"""Laws and costs of the scores attention began with; one file per operator of the atlas."""
