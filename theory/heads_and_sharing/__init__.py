"""Laws and costs of combined and shared heads; one file per operator of the atlas."""
