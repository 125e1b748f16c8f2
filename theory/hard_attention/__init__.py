"""Linear temporal logic with counting, and the hard-attention encoders that recognise its languages."""
