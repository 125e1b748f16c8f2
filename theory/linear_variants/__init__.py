"""Laws and costs of attention linear in the number of tokens; one file per operator of the atlas."""
