"""What attention without one of its principles can and cannot do: mixing, dependence on the input, exact form, current layer."""
