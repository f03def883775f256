"""Bundles are found, named, loaded and warmed before anybody is answered."""

import json
import shutil

import pytest

from sise_rt.errors import ArgumentError, BundleError, ModelError, NoEvidence
from sise_rt.explainer import Explainer
from sise_rt.serve.models import built_in, find_bundles, load_models, model_named
from sise_rt.serve.refusals import Refused


def renamed(bundle, path, name):
    """A copy of a bundle that calls itself something else."""
    shutil.copytree(bundle, path)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"name": name}))
    return path


def test_without_any_the_one_that_ships_is_served():
    assert find_bundles([]) == {"surface": built_in()}


def test_names(small_bundle, tmp_path):
    renamed(small_bundle, tmp_path / "models" / "b.sise", "second")
    renamed(small_bundle, tmp_path / "models" / "a.sise", "first")
    (tmp_path / "models" / "notes").mkdir()
    given = [str(tmp_path / "models"), f"own-name.2={small_bundle}", str(small_bundle)]
    assert list(find_bundles(given).items()) == [
        ("first", tmp_path / "models" / "a.sise"),
        ("second", tmp_path / "models" / "b.sise"),
        ("own-name.2", small_bundle),
        ("small", small_bundle),
    ]


def test_a_path_may_have_an_equals_sign(small_bundle, tmp_path):
    path = renamed(small_bundle, tmp_path / "a=b.sise", "it")
    assert find_bundles([str(path)]) == {"it": path}


def test_names_that_clash_or_cannot_be(small_bundle, tmp_path):
    with pytest.raises(ArgumentError, match="both called small"):
        find_bundles([str(small_bundle), str(small_bundle)])
    for name in ("a/b", "a b", "", "..", "x" * 101, "é", "a:explain"):
        path = renamed(small_bundle, tmp_path / f"{len(name)}{hash(name)}", name)
        if name:
            with pytest.raises(ArgumentError, match="part of an address"):
                find_bundles([str(path)])
            assert list(find_bundles([f"good={path}"])) == ["good"]
    with pytest.raises(ArgumentError, match="part of an address"):
        find_bundles([f"a b={small_bundle}"])


def test_what_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="no folder of bundles"):
        find_bundles([str(tmp_path)])
    for missing in (str(tmp_path / "none"), f"name={tmp_path / 'none'}"):
        with pytest.raises(BundleError, match="no such folder"):
            load_models(find_bundles([missing]), provider="cpu")


def test_a_model_is_warmed_by_an_explanation(small_bundle, monkeypatch):
    explained = []

    def explain(self, picture, **options):
        explained.append(self.manifest.name)
        raise error

    monkeypatch.setattr(Explainer, "explain", explain)
    error = NoEvidence("nothing in noise")  # which says nothing against the model
    assert list(load_models({"a": small_bundle, "b": small_bundle}, provider="cpu")) == ["a", "b"]
    assert explained == ["small", "small"]
    error = ModelError("it cannot be run")
    with pytest.raises(ModelError):
        load_models({"a": small_bundle}, provider="cpu")


def test_the_model_that_a_request_means(models):
    small = models["small"]
    assert model_named(models, None) is model_named(models, "small") is small
    two = {"a": small, "b": small}
    with pytest.raises(Refused, match="a, b") as refused:
        model_named(two, None)
    assert (refused.value.status, refused.value.field) == (400, "model")
    with pytest.raises(Refused) as refused:
        model_named(two, "small")
    assert (refused.value.status, refused.value.field) == (404, "model")
