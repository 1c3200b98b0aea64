"""GraphSAGE against RelBench's ``HeteroGraphSAGE``."""

import copy

import pytest
import torch
from relbench.modeling.nn import HeteroGraphSAGE
from torch_geometric.data import HeteroData

from relbench_pretrain.nn.graph_sage import GraphSAGE
from relbench_pretrain.nn.subgraph import Subgraph
from relbench_pretrain.relational.schema import ColumnSchema, GraphSchema, TableSchema

CHANNELS = 8
SIZES = {"players": 12, "teams": 7, "towns": 5, "alone": 3}
CONNECTED = ["players", "teams", "towns"]


def table(**foreign_keys):
    return TableSchema({"x": ColumnSchema("numerical")}, "id", None, foreign_keys)


# Two keys to one parent, a self-reference, and a table that no key reaches.
SCHEMA = GraphSchema(
    {
        "players": table(team="teams", old_team="teams", captain="players"),
        "teams": table(town="towns"),
        "towns": table(),
        "alone": table(),
    }
)


def graph(**arguments):
    """Edges in random order; some rows have no parent, some no child."""
    draw = torch.Generator().manual_seed(0)
    edges = {}
    for key in SCHEMA.foreign_keys:
        child = torch.randperm(SIZES[key.child], generator=draw)[: SIZES[key.child] * 3 // 4]
        parent = torch.randint(SIZES[key.parent] - 1, (len(child),), generator=draw)
        edges[key.edge_type] = torch.stack([child, parent])
        # A sampler may take other edges in the one direction than in the other.
        edges[key.reverse_edge_type] = torch.stack([parent, child])[:, 1:]
    return Subgraph(dict(SIZES), edges, **arguments)


def features(*views):
    draw = torch.Generator().manual_seed(0)
    x = {name: torch.randn(n, *views, CHANNELS, generator=draw, dtype=torch.float64) for name, n in SIZES.items()}
    return {name: rows.requires_grad_() for name, rows in x.items()}


def build(schema=SCHEMA, **arguments):
    torch.manual_seed(0)
    encoder = GraphSAGE(**arguments)
    encoder.build(schema, CHANNELS)
    for layer in encoder.layers:
        for norm in layer.norm.values():
            torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    return encoder.double()


@torch.no_grad()
def relbench_twin(encoder):
    """RelBench's network, its weights copied into ours; its root maps and biases are added up."""
    peer = HeteroGraphSAGE(CONNECTED, SCHEMA.edge_types, CHANNELS, encoder.aggr, encoder.num_layers).double()
    for layer, conv, norms in zip(encoder.layers, peer.convs, peer.norms, strict=True):
        for edge_type in SCHEMA.edge_types:
            layer.neighbours[edge_type].weight.copy_(conv.convs[edge_type].lin_l.weight)
        for name in CONNECTED:
            into = [conv.convs[e] for e in SCHEMA.edge_types if e[2] == name]
            layer.root[name].weight.copy_(sum(c.lin_r.weight for c in into))
            layer.root[name].bias.copy_(sum(c.lin_l.bias for c in into))
            norms[name].load_state_dict(layer.norm[name].state_dict())
    return peer


def connected(x):
    return {name: x[name] for name in CONNECTED}


@pytest.mark.parametrize("aggr", ["mean", "sum"])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_equals_relbench(aggr, num_layers):
    encoder = build(aggr=aggr, num_layers=num_layers)
    peer = relbench_twin(encoder)
    x, subgraph = features(), graph()
    out, expected = encoder(x, subgraph), peer(connected(x), subgraph.edge_index)
    for name in CONNECTED:
        torch.testing.assert_close(out[name], expected[name])
    inputs = list(connected(x).values())
    grads = torch.autograd.grad(sum(out[n].square().sum() for n in CONNECTED), inputs)
    expected_grads = torch.autograd.grad(sum(expected[n].square().sum() for n in CONNECTED), inputs)
    for a, b in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_of_the_weights():
    encoder, subgraph = build(), graph()
    x = features(2)
    peer = relbench_twin(encoder)
    sum(rows.square().sum() for rows in encoder(x, subgraph).values()).backward()
    for view in range(2):
        out = peer({name: x[name][:, view].detach() for name in CONNECTED}, subgraph.edge_index)
        sum(rows.square().sum() for rows in out.values()).backward()
    for layer, conv, norms in zip(encoder.layers, peer.convs, peer.norms, strict=True):
        for edge_type in SCHEMA.edge_types:
            expected = conv.convs[edge_type]
            torch.testing.assert_close(layer.neighbours[edge_type].weight.grad, expected.lin_l.weight.grad)
            torch.testing.assert_close(layer.root[edge_type[2]].weight.grad, expected.lin_r.weight.grad)
            torch.testing.assert_close(layer.root[edge_type[2]].bias.grad, expected.lin_l.bias.grad)
        for name in CONNECTED:
            torch.testing.assert_close(layer.norm[name].weight.grad, norms[name].weight.grad)


def test_views_in_one_pass_equal_each_view_alone():
    encoder, x, subgraph = build(), features(2, 3), graph()
    out = encoder(x, subgraph)
    for view in [(0, 0), (1, 2)]:
        alone = encoder({name: rows[:, view[0], view[1]] for name, rows in x.items()}, subgraph)
        for name, rows in alone.items():
            torch.testing.assert_close(out[name][:, view[0], view[1]], rows)


def test_rows_without_neighbours_keep_their_own_map():
    encoder, x = build(num_layers=1), features()
    out = encoder(x, graph())
    layer = encoder.layers[0]
    isolated = encoder(x, Subgraph(dict(SIZES), {}))
    for name, rows in x.items():
        expected = layer.norm[name](layer.root[name](rows)).relu()
        torch.testing.assert_close(isolated[name], expected)
    torch.testing.assert_close(out["alone"], isolated["alone"])
    torch.testing.assert_close(out["towns"][-1], isolated["towns"][-1])  # no team is in the last town
    assert not torch.allclose(out["towns"][:-1], isolated["towns"][:-1])


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize("views", [(), (2,)])
def test_targets_get_the_same_rows_and_gradients_as_without(num_layers, views):
    encoder, x = build(num_layers=num_layers), features(*views)
    everything = encoder(x, graph())
    targets = {"players": 4, "teams": 7}
    out = encoder(x, graph(num_targets=targets))
    assert {name: len(rows) for name, rows in out.items()} == targets | {"towns": 0, "alone": 0}
    for name, n in targets.items():
        torch.testing.assert_close(out[name], everything[name][:n])
    inputs = [*x.values(), *encoder.parameters()]
    grads = torch.autograd.grad(sum(out[n].square().sum() for n in targets), inputs)
    loss = sum(everything[n][:k].square().sum() for n, k in targets.items())
    for a, b in zip(grads, torch.autograd.grad(loss, inputs), strict=True):
        torch.testing.assert_close(a, b)


def test_tables_without_rows_and_without_features():
    encoder, x, subgraph = build(), features(), graph()
    empty = {name: rows[:0] for name, rows in x.items()}
    none = {e: torch.empty(2, 0, dtype=torch.long) for e in SCHEMA.edge_types}
    out = encoder(empty, Subgraph(dict.fromkeys(SIZES, 0), none))
    assert all(rows.shape == (0, CHANNELS) for rows in out.values())
    sum(rows.sum() for rows in out.values()).backward()
    # Data-parallel training waits for the gradient of every parameter.
    assert all(p.grad is not None for p in encoder.parameters())
    assert encoder({}, Subgraph({}, {})) == {}
    # A batch may lack a table altogether.
    edges = {e: index for e, index in subgraph.edge_index.items() if "towns" not in (e[0], e[2])}
    out = encoder({n: rows for n, rows in x.items() if n != "towns"}, Subgraph(dict(SIZES), edges))
    assert set(out) == set(SIZES) - {"towns"}


def test_a_database_without_keys():
    encoder = build(GraphSchema({"alone": table(), "players": table()}))
    x = {name: features(2)[name] for name in ("alone", "players")}
    out = encoder(x, Subgraph({"alone": 3, "players": 12}, {}))
    assert out["players"].shape == (12, 2, CHANNELS)


def test_tables_named_like_methods():
    rename = {"players": "items", "teams": "keys", "towns": "type", "alone": "values"}
    tables = {
        rename[name]: table(**{column: rename[parent] for column, parent in spec.foreign_keys.items()})
        for name, spec in SCHEMA.tables.items()
    }
    encoder, twin = build(), build(GraphSchema(tables))
    x, subgraph = features(), graph()
    renamed = copy.deepcopy(subgraph)
    renamed.num_nodes = {rename[name]: n for name, n in subgraph.num_nodes.items()}
    renamed.edge_index = {(rename[a], r, rename[b]): index for (a, r, b), index in subgraph.edge_index.items()}
    out = twin({rename[name]: rows for name, rows in x.items()}, renamed)
    for name, rows in encoder(x, subgraph).items():
        torch.testing.assert_close(out[rename[name]], rows)


def test_bf16_autocast():
    encoder, subgraph = build().float(), graph()
    x = {name: rows.detach().float() for name, rows in features(2).items()}
    exact = encoder(x, subgraph)
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder(x, subgraph)
    sum(rows.float().square().sum() for rows in out.values()).backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == torch.float32 for p in encoder.parameters())
    for name, rows in out.items():
        assert (rows.float() - exact[name]).norm() < 0.03 * exact[name].norm()


def test_parameters_exist_after_build_and_survive_a_state_dict():
    encoder = GraphSAGE()
    assert not list(encoder.parameters())
    encoder.build(SCHEMA, CHANNELS)
    parameters = [id(p) for p in encoder.parameters()]
    encoder.build(SCHEMA, 2 * CHANNELS)
    assert parameters
    assert parameters == [id(p) for p in encoder.parameters()]
    twin = GraphSAGE()
    twin.build(SCHEMA, CHANNELS)
    twin.load_state_dict(encoder.state_dict())
    x = {name: rows.detach().float() for name, rows in features().items()}
    for a, b in zip(encoder(x, graph()).values(), twin(x, graph()).values(), strict=True):
        assert torch.equal(a, b)


def test_root_maps_start_like_the_sum_of_one_per_edge_type():
    torch.manual_seed(0)
    encoder = GraphSAGE(num_layers=1)
    encoder.build(SCHEMA, 64)
    spread = {name: encoder.layers[0].root[name].weight.std().item() for name in ("alone", "towns", "players")}
    # players: team, old_team, captain in both directions; towns: from teams only
    assert spread["towns"] == pytest.approx(spread["alone"], rel=0.05)
    assert spread["players"] == pytest.approx(spread["alone"] * 4**0.5, rel=0.05)


def test_subgraph_from_batch():
    batch = HeteroData()
    batch["a"].x, batch["b"].x = torch.zeros(3, 1), torch.zeros(2, 1)
    batch["a", "f2p_k", "b"].edge_index = torch.tensor([[0, 2], [1, 1]])
    batch["b", "rev_f2p_k", "a"].edge_index = torch.tensor([[1, 1], [0, 2]])
    batch["b", "rev_f2p_k", "a"].rank = torch.tensor([0, 1])
    batch["b", "rev_f2p_k", "a"].age = torch.tensor([5, 7])
    subgraph = Subgraph.from_batch(batch, {"a": 1})
    assert subgraph.num_nodes == {"a": 3, "b": 2}
    assert subgraph.num_targets == {"a": 1}
    assert set(subgraph.edge_index) == set(batch.edge_types)
    assert list(subgraph.rank) == list(subgraph.age) == [("b", "rev_f2p_k", "a")]
    assert Subgraph.from_batch(batch).num_targets == {}


def test_errors_name_the_value_and_the_remedy():
    encoder, x, subgraph = build(), features(), graph()
    with pytest.raises(ValueError, match=r"aggr must be 'mean' or 'sum'.*'max'"):
        GraphSAGE(aggr="max")
    with pytest.raises(ValueError, match=r"tables \['ghosts'\].*build"):
        encoder({"ghosts": x["teams"]}, subgraph)
    with pytest.raises(ValueError, match=r"edges .*towns.*leave the edges out"):
        encoder({n: rows for n, rows in x.items() if n != "towns"}, subgraph)
    with pytest.raises(ValueError, match="'teams' has 6 rows, but the graph has 7"):
        encoder(x | {"teams": x["teams"][:6]}, subgraph)
