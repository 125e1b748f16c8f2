"""Operators with gates, decay and memories of fixed size; one file per operator of the atlas."""
