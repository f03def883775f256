"""Many pictures: listed, explained in one loop, kept so that a kill loses nothing, and seen at once."""
