"""Static and dynamic graph attention: which maps from queries to keys a head reaches, and what a static one can still look
up."""
