"""What people show to others: the map over the picture, with words around it, bare, or alone."""
