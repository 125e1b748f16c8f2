"""Instruments for explanations on planted truth: gauges, perturbed scores, relevance, deletion, fits, probes and readers."""
