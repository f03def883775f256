"""Many pictures in one run: what is explained, and what came of each, which outlives an interrupt."""
