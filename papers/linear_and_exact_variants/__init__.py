"""Five ways to cheaper attention: products reordered, cosines, leading directions, cached keys, corrections from anchors."""
