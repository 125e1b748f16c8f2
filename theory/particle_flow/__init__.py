"""Fields, exact flows and splitting errors of interacting particles."""
