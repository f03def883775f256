"""Training pictures that an explanation makes of labelled ones: the command `sise-rt augment`.

In the order of the data: `occlusion` (which pixels matter, and what takes the place of hidden ones),
`one_picture` (its forms, in files), `run` (all of a data set, resumable), `labels` (the table that a training
reads), `page` (twenty pictures to look at).
The idea is that of EDDA (arXiv 2105.14162); what its abstract leaves open is decided in `docs/training.md`.
"""
