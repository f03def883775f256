"""Where weights stand in graphs inside of graphs."""

from onnx import TensorProto, helper
from sise_rt.export.ir.nodes import homes


def value(name):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


def scalar(name, element):
    return helper.make_tensor_value_info(name, element, [])


def nested():
    """A Loop, in whose body there are an If and another Loop."""
    inner = helper.make_graph(
        [
            helper.make_node("Add", ["of the inner loop", "of both loops"], ["sum"]),
            helper.make_node("Identity", ["inner again"], ["inner on"]),
        ],
        "inner",
        [scalar("inner turn", TensorProto.INT64), scalar("inner again", TensorProto.BOOL)],
        [scalar("inner on", TensorProto.BOOL), value("sum")],
    )
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node("Mul", [f"of {name}", "of both loops"], [name])], name, [], [value(name)]
        )
        for name in ("then", "else")
    }
    body = helper.make_graph(
        [
            helper.make_node("Loop", ["trips", "again"], ["sums"], body=inner),
            helper.make_node("If", ["again"], ["branch"], **branches),
            helper.make_node("Add", ["branch", "of all"], ["row"]),
            helper.make_node("Identity", ["again"], ["on"]),
        ],
        "body",
        [scalar("turn", TensorProto.INT64), scalar("again", TensorProto.BOOL)],
        [scalar("on", TensorProto.BOOL), value("row")],
    )
    return helper.make_graph(
        [
            helper.make_node("Loop", ["trips", "true"], ["rows"], body=body),
            helper.make_node("Add", ["rows", "of all"], ["y"]),
        ],
        "outer",
        [value("setting")],
        [value("y")],
    )


def test_weights_are_at_home_where_all_their_readers_are():
    names = {"of all", "of both loops", "of the inner loop", "of then", "of else", "trips", "true"}
    found = {name: graph.name for name, graph in homes(nested(), names).items()}
    assert found == {
        "of all": "outer",
        "of both loops": "body",
        "of the inner loop": "inner",
        "of then": "body",
        "of else": "body",
        "trips": "outer",
        "true": "outer",
    }


def test_what_is_an_input_too_stays_where_it_is_given():
    graph = nested()
    graph.node[0].attribute[0].g.node[2].input[1] = "setting"
    assert homes(graph, {"setting"})["setting"].name == "outer"
    assert homes(graph, {"of all"})["of all"].name == "outer"
