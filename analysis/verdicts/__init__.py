"""The verdict, its twin, and the ledger of the error budget."""
