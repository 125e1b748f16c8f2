"""Fixed patterns: how far they reach, where influence lies, what they cost; one operator per file, shared laws beside."""
