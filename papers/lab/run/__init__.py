"""Running claims: workbench, executor, store, identity."""
