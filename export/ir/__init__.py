"""The network as a value: its tensors, nodes and weights, and how it is written and run."""
