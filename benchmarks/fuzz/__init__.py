"""Does a malformed model or bundle end in an error that says so? `python -m benchmarks.fuzz`."""
