"""The reverse pass over an ONNX graph: plain operators that compute gradients."""

from .reverse import vjp

__all__ = ["vjp"]
