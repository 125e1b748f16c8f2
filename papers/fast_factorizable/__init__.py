"""Fastmax: the exponential cut off at a low order; its forms, signs, slopes, sharpness and sharp error."""
