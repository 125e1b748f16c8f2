"""How much a paper's claims and tests would see: theory broken on purpose, and claims judged again on stored runs."""
