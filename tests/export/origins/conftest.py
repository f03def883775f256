"""A small model in a folder of its own, with whatever is to describe it."""

import json

import numpy as np
import pytest


@pytest.fixture
def folder_of(small_model, tmp_path):
    """The function `(properties, files, model=small_model)` that makes such a folder."""
    import onnx

    def make(properties=None, files=None, model=small_model):
        folder = tmp_path / "published"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        made = onnx.load(model)
        for key, value in (properties or {}).items():
            made.metadata_props.add(key=key, value=value)
        onnx.save(made, folder / "model.onnx")
        for name, content in (files or {}).items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text, "utf-8")
        return folder

    return make


@pytest.fixture
def prepared(tmp_path):
    """The function `(source, **options)` that prepares a source for export."""
    from sise_rt.export.preparation import prepare

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return lambda source, **options: prepare(source, scratch, **options)


@pytest.fixture
def refused(prepared):
    """The function `(source, **options)` that gives the line in which a source is refused."""
    from sise_rt.errors import ModelError

    def why(source, **options):
        with pytest.raises(ModelError) as caught:
            prepared(source, **options)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400
        return str(caught.value)

    return why


@pytest.fixture(scope="session")
def pictures():
    """Five pictures of different sizes with structure of every scale: (H, W, 3) uint8."""
    rng = np.random.default_rng(5)
    made = []
    for height, width in ((32, 32), (90, 61), (47, 200), (333, 250), (25, 29)):
        rows, columns = np.mgrid[:height, :width]
        waves = [np.sin(rows / a + columns / b) for a, b in ((3, 7), (11, 5), (2, 19))]
        noise = rng.normal(0, 0.3, (height, width, 3))
        made.append(np.clip((np.stack(waves, 2) + noise) * 90 + 128, 0, 255).astype(np.uint8))
    return made
