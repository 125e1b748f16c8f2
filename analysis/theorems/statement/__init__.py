"""What is claimed: domains, assumptions and the two sides."""
