"""A source becomes one checked ONNX model in float32, and what its origin says of it."""
