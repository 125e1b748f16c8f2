"""What `attnlab bench` times: paired, interleaved timings against public alternatives, as ratios."""
