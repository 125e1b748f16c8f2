"""How attention is computed: one folder an operation, each with a readable reference and its fast paths."""
