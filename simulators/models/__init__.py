"""Model pieces that several subjects share."""
