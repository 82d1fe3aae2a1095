"""Two versions on the same images: which is better, where, and whether that may be chance."""
