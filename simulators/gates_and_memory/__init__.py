"""Gates, decay and memories of fixed size on planted pairs and generic tokens: what is measured of their operators."""
