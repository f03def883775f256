"""One form for every model: batch, shapes, layout, logits, and where its blocks lie."""
