"""An explanation as a page that stands alone: pictures, words, and what an audit asks for."""
