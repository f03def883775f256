"""Phase 0: a file becomes the model's input, and a map finds its way back onto the picture."""
