"""What all C code shares: the compiler at first use, threads, counters, normal streams, headers."""
