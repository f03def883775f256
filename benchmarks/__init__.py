"""What sise-rt measures of itself: README.md lists the benchmarks, `python -m benchmarks.NAME` runs one."""
