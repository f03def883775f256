"""What a model's own files say of it: labels, preprocessing, input size, activation. Data, never code."""
