"""How good explanations are on the user's own model and data: the command `sise-rt evaluate`.

In the order of the data: `samples` (what a data set is), `datasets` (read one; `voc`, `coco`, `tables` and
`masks` are its formats), `classes` (its classes become the model's), `truth` (its boxes and masks reach the
model's input), `measure` (one picture), `run` and `store` (all of them, resumable), `summary`, `plots`,
`report`. And how often a model is right on labelled pictures, `sise-rt accuracy`: `accuracy`, `alternatives`,
`clearly`.
"""
