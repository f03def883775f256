"""Lists of pictures, which others have made."""
