"""The graphs of a bundle: the split, the heads, and what they are linked to."""
