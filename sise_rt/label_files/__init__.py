"""Labels as a user gives them: as text, JSON or a table, for an export, or for a bundle later."""
