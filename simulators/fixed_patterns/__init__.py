"""Fixed patterns as they come: stacks with uniform weights, masks, waves and maps of the operators themselves."""
