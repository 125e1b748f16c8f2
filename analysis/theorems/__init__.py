"""Claims for all inputs: statement, engines, levels, check, witness."""
