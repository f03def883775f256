"""The proof of a bundle: its numbers against its source's."""
