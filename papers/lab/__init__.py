"""The laboratory: how papers are declared, run, stored and shown."""
