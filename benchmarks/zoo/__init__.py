"""Does each of many real architectures export, with torch autograd's numbers? `python -m benchmarks.zoo`."""
