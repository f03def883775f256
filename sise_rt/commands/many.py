"""A run of `sise-rt explain`: what is left of it, where it goes, and what is said of it at the end."""
