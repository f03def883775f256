"""The commands of `sise-rt`, thin over the functions; what is heavy is imported when a command runs."""
