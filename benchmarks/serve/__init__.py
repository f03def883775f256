"""The service under load, and against everything that clients do wrong."""
