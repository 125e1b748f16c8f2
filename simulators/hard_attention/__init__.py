"""Encoders with hard attention, run on every word: in whole numbers, in floats, and with softmax in place of hard attention."""
