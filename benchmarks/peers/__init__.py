"""How fast does sise-rt explain beside other packages? `python -m benchmarks.peers`."""
