"""Values that no one would write into a model: numbers, and texts."""

ABSURD = (0, -1, 1, 2, 7, 1 << 26, 1 << 31, 1 << 40, 1 << 62, -(1 << 63))
STRINGS = (
    "",
    "input",
    "images",
    "logits",
    "a\0b",
    "../x",
    "名前 ü ☃",
    "x" * 100_000,
    "\x1b[2J\n",
    "sise_rt/x",
)
