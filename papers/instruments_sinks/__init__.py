"""Instruments for attention sinks on planted truth: what they read, how often they err, and from which strength on they find."""
