"""The page where a person sees what the model looks at in a whole run."""
