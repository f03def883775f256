"""Label files: one name a class, as text, JSON or a table; and what else states labels in such a form."""
