"""In-context classification by a two-layer attention-only network and its minimal models."""
