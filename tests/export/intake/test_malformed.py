"""Malformed and hostile models: each is refused before anything heavy is done, with the reason."""

import os

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export import export
from sise_rt.export.intake.malformed import check_model

from sise_rt.errors import ModelError


@pytest.fixture
def model(small_model) -> onnx.ModelProto:
    return onnx.load(small_model)


def node(model, name):
    return next(n for n in model.graph.node if n.name == name)


def attribute(model, name, key):
    return next(a for a in node(model, name).attribute if a.name == key)


def weight(model, name):
    return next(w for w in model.graph.initializer if w.name == name)


def insert(model, op, *constants, **attributes):
    """Put an operator between the first convolution and its normalisation."""
    names = [f"constant{i}" for i in range(len(constants))]
    for name, value in zip(names, constants, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    inserted = helper.make_node(op, ["stem.conv", *names], ["hostile"], "hostile", **attributes)
    model.graph.node.insert(1, inserted)
    node(model, "stem.norm").input[0] = "hostile"
    return inserted


def nested_ifs(model, depth):
    identity = helper.make_node("Identity", ["input"], ["inner"])
    graph = helper.make_graph([identity], "branch", [], [helper.make_tensor_value_info("inner", 1, None)])
    for i in range(depth):
        choice = helper.make_node("If", ["true"], [f"if{i}"], f"if{i}", then_branch=graph, else_branch=graph)
        graph = helper.make_graph([choice], "branch", [], [helper.make_tensor_value_info(f"if{i}", 1, None)])
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "true"))
    model.graph.node.insert(0, graph.node[0])
    node(model, "stem.conv").input[0] = f"if{depth - 1}"


def function(model, name, *called):
    nodes = [
        helper.make_node(other, ["x"], ["y" if not i else f"y{i}"], domain="own")
        for i, other in enumerate(called)
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    model.functions.append(helper.make_function("own", name, ["x"], ["y"], nodes, opsets))


# ---------------------------------------------------------------------------------------------- structure


def cycle(model):
    node(model, "a.conv1").input[0] = "b.relu"


def its_own_input(model):
    node(model, "stem.relu").input[0] = "stem.relu"


def duplicate_node_names(model):
    node(model, "pool").name = "stem.relu"


def duplicate_tensors(model):
    node(model, "a.relu").output[0] = "stem.relu"


def duplicate_weights(model):
    model.graph.initializer.append(weight(model, "head.bias"))


def duplicate_inputs(model):
    model.graph.input.append(model.graph.input[0])


def computed_and_given(model):
    node(model, "a.conv1").output[0] = "head.bias"


def undefined_input(model):
    del model.graph.initializer[[w.name for w in model.graph.initializer].index("head.bias")]


def undefined_output(model):
    model.graph.output[0].name = "nothing"


def missing_node(model):
    model.graph.node.remove(node(model, "a.relu1"))


def two_opsets(model):
    model.opset_import.add(domain="ai.onnx", version=13)


def no_opset(model):
    model.opset_import[0].version = 0


def deep_subgraphs(model):
    nested_ifs(model, 6)


def many_subgraphs(model):
    nested_ifs(model, 2)
    branch = attribute(model, "if1", "then_branch").g
    branch.node.extend(helper.make_node("Identity", ["input"], [f"more{i}"]) for i in range(1000))


def endless_loop(model):
    insert(model, "Loop", np.array(1 << 40), body=onnx.GraphProto())


def recursive_function(model):
    function(model, "Own", "Other")
    function(model, "Other", "Own")


def doubling_functions(model):
    for i in range(40):
        function(model, f"f{i}", *[f"f{i + 1}"] * 2)
    node(model, "stem.relu").op_type, node(model, "stem.relu").domain = "f0", "own"


# --------------------------------------------------------------------------------------- nodes, weights


def too_few_inputs(model):
    del node(model, "stem.conv").input[1:]


def too_many_inputs(model):
    node(model, "stem.conv").input.extend(["input"] * 300)


def attribute_of_another_type(model):
    attribute(model, "stem.conv", "strides").CopyFrom(helper.make_attribute("strides", onnx.GraphProto()))


def attribute_without_a_type(model):
    attribute(model, "stem.conv", "strides").type = 0


def attribute_missing(model):
    del node(model, "pool").attribute[:]


def attribute_twice(model):
    node(model, "stem.conv").attribute.append(attribute(model, "stem.conv", "pads"))


def no_stride(model):
    attribute(model, "stem.conv", "strides").ints[0] = 0


def no_group(model):
    node(model, "stem.conv").attribute.append(helper.make_attribute("group", 0))


def absurd_padding(model):
    attribute(model, "stem.conv", "pads").ints[0] = 1 << 31


def no_permutation(model):
    insert(model, "Transpose", perm=[0, 1, 2, 9])


def negative_shape(model):
    weight(model, "head.bias").dims[0] = -5


def absurd_shape(model):
    weight(model, "head.bias").dims[0] = 1 << 62


def short_weight(model):
    bias = weight(model, "head.bias")
    bias.raw_data = bias.raw_data[:-4]


def nan_weight(model):
    weight(model, "head.bias").CopyFrom(numpy_helper.from_array(np.full(5, np.nan, np.float32), "head.bias"))


def sparse_weight(model):
    sparse = model.graph.sparse_initializer.add(dims=[1 << 31, 1 << 31])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "sparse"))


# ---------------------------------------------------------------------------------------------- sizes


def absurd_batch(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 31


def absurd_image(model):
    for dim in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 1 << 31


def nothing_left(model):
    shape = np.ones((8, 8, 40, 1), np.float32)
    insert(model, "Conv", shape, kernel_shape=[40, 1])


def shrunk_to_nothing(model):
    insert(model, "Resize", np.float32([]), np.float32([1, 1, 1e-3, 1]))


def constant_of_shape(model):
    node(model, "stem.norm").input[0] = "hostile"
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 40]), "n"))
    model.graph.node.insert(1, helper.make_node("ConstantOfShape", ["n"], ["hostile"], "hostile"))


def constant_of_many_extents(model):
    constant_of_shape(model)
    weight(model, "n").CopyFrom(numpy_helper.from_array(np.array([1 << 10] * 4), "n"))


def from_a_constant_node(model):
    constant_of_shape(model)
    del model.graph.initializer[-1]
    model.graph.node.insert(0, helper.make_node("Constant", [], ["n"], value_ints=[1 << 40]))


def expand(model):
    insert(model, "Expand", [1 << 14, 1, 1, 1])


def tile(model):
    insert(model, "Tile", [1, 1, 1 << 12, 1 << 12])


def pad(model):
    insert(model, "Pad", [0, 0, 1 << 14, 0, 0, 0, 0, 1 << 14])


def long_pad(model):
    insert(model, "Pad", [0, 0, 1 << 17, 0, 0, 0, 0, 0])


def resize(model):
    insert(model, "Resize", np.float32([]), np.float32([1, 1, 1e4, 1e4]))


def resize_to_nan(model):
    insert(model, "Resize", np.float32([]), np.float32([1, 1, np.nan, 1]))


def endless_range(model):
    insert(model, "Add", np.float32(0))
    for name, value in (("start", 0), ("end", 1), ("step", 0)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    model.graph.node.insert(1, helper.make_node("Range", ["start", "end", "step"], ["r"], "range"))
    node(model, "hostile").input[1] = "r"


def computed_size(model):
    constant_of_shape(model)
    weight(model, "n").CopyFrom(numpy_helper.from_array(np.array([1 << 20]), "n"))
    model.graph.node.insert(1, helper.make_node("Mul", ["n", "n"], ["nn"], "product"))
    node(model, "hostile").input[0] = "nn"


def division_by_minus_one(model):
    insert(model, "Div", np.array([-1]))


def splitting_into_nothing(model):
    insert(model, "SplitToSequence", np.array(0))


REFUSED = {
    cycle: r"node 'a.conv1' \(Conv\) waits for its own result: the model's graph has a cycle",
    its_own_input: r"node 'stem.relu' \(Relu\) waits for its own result",
    duplicate_node_names: "two nodes of the model have one name, 'stem.relu'",
    duplicate_tensors: "two results of nodes of the model have one name, 'stem.relu'",
    duplicate_weights: "two weights of the model have one name, 'head.bias'",
    duplicate_inputs: "two inputs of the model have one name, 'input'",
    computed_and_given: "node output 'head.bias' has the name of an input or a weight",
    undefined_input: r"node 'scores' \(Gemm\) reads 'head.bias', which nothing computes",
    undefined_output: "output 'nothing' is computed by nothing",
    missing_node: r"node 'a.conv2' \(Conv\) reads 'a.relu1', which nothing computes",
    two_opsets: "two versions of operator set 'ai.onnx'",
    no_opset: "names version 0 of operator set 'ai.onnx'",
    deep_subgraphs: "subgraphs are nested too deep",
    many_subgraphs: "nodes in subgraphs, more than the 1000",
    endless_loop: r"node 'hostile' \(Loop\): control flow cannot be split into blocks",
    recursive_function: "function 'O.*' of the model calls itself",
    doubling_functions: "more than 1000000 nodes in its functions",
    too_few_inputs: r"node 'stem.conv' \(Conv\) has 1 inputs, where 2 to 3 are possible",
    too_many_inputs: r"node 'stem.conv' \(Conv\) has 302 inputs",
    attribute_of_another_type: "attribute 'strides' is GRAPH, where INTS is needed",
    attribute_without_a_type: "attribute 'strides' is UNDEFINED, where INTS is needed",
    attribute_missing: r"node 'pool' \(MaxPool\) lacks its attribute 'kernel_shape'",
    attribute_twice: r"node 'stem.conv' \(Conv\) has two attributes 'pads'",
    no_stride: "attribute 'strides' must be positive",
    no_group: "attribute 'group' must be positive",
    absurd_padding: "attribute 'pads' is absurdly large",
    no_permutation: "attribute 'perm' is .*, which is no permutation",
    negative_shape: r"weight 'head.bias' is damaged: its shape is \[-5\]",
    absurd_shape: "weight 'head.bias' is damaged: it has 20 bytes, its shape needs",
    short_weight: "weight 'head.bias' is damaged",
    nan_weight: "weight 'head.bias' holds NaN",
    sparse_weight: "sparse weight 'sparse' has an absurd shape",
    absurd_batch: r"input 'input' is absurdly large, \[2147483648, 3, 32, 32\]",
    absurd_image: "input 'input' is absurdly large",
    nothing_left: r"node 'hostile' \(Conv\) leaves nothing of its input: .*-7",
    shrunk_to_nothing: r"node 'hostile' \(Resize\) leaves nothing of its input: .*\[1, 8, 0, 32\]",
    constant_of_shape: r"node 'hostile' \(ConstantOfShape\) asks for an absurdly large tensor",
    constant_of_many_extents: r"node 'hostile' \(ConstantOfShape\) gives an absurdly large tensor, \[1024, ",
    from_a_constant_node: r"node 'hostile' \(ConstantOfShape\) asks for an absurdly large tensor",
    expand: r"node 'hostile' \(Expand\) gives an absurdly large tensor",
    tile: r"node 'hostile' \(Tile\) gives an absurdly large tensor, \[1, 8, 131072, 131072\]",
    pad: r"node 'hostile' \(Pad\) gives an absurdly large tensor",
    long_pad: r"node 'hostile' \(Pad\) asks for an absurdly large tensor",
    resize: r"node 'hostile' \(Resize\) gives an absurdly large tensor",
    resize_to_nan: r"node 'hostile' \(Resize\) asks for an absurdly large tensor",
    endless_range: r"node 'range' \(Range\) counts through more than .* values, or for ever",
    computed_size: r"node 'product' \(Mul\) multiplies whole numbers by absurdly large ones",
    division_by_minus_one: r"node 'hostile' \(Div\) divides whole numbers by -1: use Neg",
    splitting_into_nothing: r"node 'hostile' \(SplitToSequence\) splits into pieces of no length",
}


@pytest.mark.parametrize("damage", REFUSED, ids=lambda function: function.__name__)
def test_malformed_models_are_refused_with_the_reason(damage, model, tmp_path):
    damage(model)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=REFUSED[damage]) as caught:
        export(path, tmp_path / "m.sise")
    assert str(path) in str(caught.value)
    assert os.listdir(tmp_path) == ["m.onnx"]


# ---------------------------------------------------------------------------------------------- what is sound


def test_a_sound_model_stays_as_it_is(model):
    before = model.SerializeToString()
    check_model(model)
    assert model.SerializeToString() == before


def outputs(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32), np.float32)
    return session.run(None, {"input": image})[0]


def test_nodes_out_of_order_are_sorted(model):
    expected = outputs(model)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(onnx.checker.ValidationError, match="topologically sorted"):
        onnx.checker.check_model(model)
    check_model(model)
    onnx.checker.check_model(model)
    np.testing.assert_array_equal(outputs(model), expected)


def test_a_subgraph_orders_the_nodes_around_it(model):
    """What the branch of an If reads from outside is computed before it."""
    nested_ifs(model, 1)
    for branch in ("then_branch", "else_branch"):
        attribute(model, "if0", branch).g.node[0].input[0] = "stem.relu"
    node(model, "stem.conv").input[0] = "input"
    node(model, "pool").input[0] = "if0"
    assert model.graph.node[0].name == "if0"
    check_model(model)
    names = [n.name for n in model.graph.node]
    assert names.index("stem.relu") < names.index("if0") < names.index("pool")


def test_free_extents_in_the_old_way(model):
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[0].dim_value, dims[2].dim_value = -1, 0
    check_model(model)
    assert [d.HasField("dim_value") for d in dims] == [False, True, False, True]


def test_operators_of_onnx_runtime_get_their_version(model):
    node(model, "stem.relu").op_type, node(model, "stem.relu").domain = "Gelu", "com.microsoft"
    check_model(model)
    assert {o.domain: o.version for o in model.opset_import} == {"": 18, "com.microsoft": 1}


def test_sizes_that_only_look_absurd(model):
    """A slice up to the largest integer, and a shallow If."""
    expected = outputs(model)
    insert(model, "Slice", [0], [(1 << 63) - 1], [2])
    nested_ifs(model, 2)
    check_model(model)
    np.testing.assert_array_equal(outputs(model), expected)


def test_sizes_that_are_computed_are_not_taken_for_empty(model):
    expected = outputs(model)
    model.graph.node.insert(1, helper.make_node("Shape", ["stem.conv"], ["shape"], "shape"))
    model.graph.node.insert(2, helper.make_node("Expand", ["stem.conv", "shape"], ["expanded"], "expand"))
    node(model, "stem.norm").input[0] = "expanded"
    check_model(model)
    np.testing.assert_allclose(outputs(model), expected, rtol=1e-5, atol=1e-6)


def test_a_large_weight_behind_an_operator_is_no_absurd_tensor(model):
    """As where a weight is a Constant node, or is dequantised."""
    rows = np.zeros((1 << 13, 1 << 12), np.int8)
    model.graph.initializer.append(numpy_helper.from_array(rows, "rows"))
    model.graph.node.append(helper.make_node("Cast", ["rows"], ["cast"], "cast", to=TensorProto.FLOAT))
    check_model(model)


def test_functions_that_call_functions(model):
    function(model, "Twice", "Same", "Same")
    function(model, "Same")
    check_model(model)


# ---------------------------------------------------------------------------------------------- external data


@pytest.mark.parametrize(
    "location", ["../w.bin", "{folder}/w.bin", "link.bin", "sub/../../w.bin", "pipe.bin"]
)
def test_weights_outside_the_folder_are_not_read(model, tmp_path, location):
    inner = tmp_path / "inner"
    inner.mkdir()
    bias = weight(model, "head.bias")
    (tmp_path / "w.bin").write_bytes(bias.raw_data)
    (inner / "link.bin").symlink_to("../w.bin")
    os.mkfifo(inner / "pipe.bin")
    bias.ClearField("raw_data")
    bias.data_location = TensorProto.EXTERNAL
    bias.external_data.add(key="location", value=location.format(folder=tmp_path))
    (inner / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="external weights cannot be loaded"):
        export(inner / "m.onnx", inner / "m.sise")
    assert sorted(os.listdir(inner)) == ["link.bin", "m.onnx", "pipe.bin"]


def test_a_weight_that_the_graph_makes_may_be_as_large_as_vgg_19_s_first_dense_layer(model):
    features = 25_088
    model.graph.initializer.append(numpy_helper.from_array(np.array([4096, features]), "sizes"))
    fill = numpy_helper.from_array(np.array([1e-3], np.float32))
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["sizes"], ["dense"], "dense", value=fill))
    check_model(model)
    model.graph.initializer[-1].CopyFrom(numpy_helper.from_array(np.array([8192, features]), "sizes"))
    with pytest.raises(ModelError, match=r"node 'dense' \(ConstantOfShape\) gives an absurdly large tensor"):
        check_model(model)
