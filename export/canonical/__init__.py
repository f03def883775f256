"""One form for every model: opset, batch, shapes, ends, and where its blocks lie."""
