"""What heads of low rank cannot point at: bounds, votes, random heads."""
