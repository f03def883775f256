"""Running a bundle's graphs on ONNX Runtime."""
