"""Table encoders against PyTorch Frame's own networks, and on the cells that those cannot encode."""

import copy
import math

import pandas as pd
import pytest
import torch
from torch import nn
from torch_frame import TensorFrame, stype
from torch_frame.config import TextEmbedderConfig
from torch_frame.data import Dataset, MultiEmbeddingTensor, MultiNestedTensor
from torch_frame.data.stats import StatType, _default_values
from torch_frame.nn import (
    EmbeddingEncoder,
    FTTransformer,
    LinearEmbeddingEncoder,
    LinearEncoder,
    MultiCategoricalEmbeddingEncoder,
    ResNet,
    StypeWiseFeatureEncoder,
    TimestampEncoder,
)

from relbench_pretrain.nn.attribute_encoders import MAX_DEVIATION, folding_pays
from relbench_pretrain.nn.grouped_layers import grouped_layer, grouped_linear, keep_mask
from relbench_pretrain.nn.sparse_matrix import SparseMatrix
from relbench_pretrain.nn.table_encoders import LinearTableEncoder, ResNetTableEncoder, TransformerTableEncoder
from relbench_pretrain.relational.schema import ColumnSchema, GraphSchema, TableSchema, stats_to_json

CHANNELS = 16
CLASSES = [LinearTableEncoder, ResNetTableEncoder, TransformerTableEncoder]
KINDS = {
    "age": stype.numerical,
    "height": stype.numerical,
    "colour": stype.categorical,
    "street": stype.categorical,
    "tags": stype.multicategorical,
    "born": stype.timestamp,
    "died": stype.timestamp,
    "note": stype.text_embedded,
    "title": stype.text_embedded,
}


def embed(texts):
    """Vectors of 6 numbers that depend on the text only."""
    return torch.tensor([[math.sin((i + 1) * sum(map(ord, text)) + i) for i in range(6)] for text in texts])


def people(num_rows=40):
    """A materialised table with columns of every type; all but the numbers have missing cells."""
    draw = torch.Generator().manual_seed(0)
    pick = lambda high: torch.randint(high, (num_rows,), generator=draw).tolist()  # noqa: E731
    df = pd.DataFrame(
        {
            "age": torch.randn(num_rows, generator=draw).numpy(),
            "height": torch.randn(num_rows, generator=draw).numpy() * 10 + 170,
            "colour": ["rgb"[i] for i in pick(3)],
            "street": [f"street {i}" for i in range(num_rows)],
            "tags": [",".join({"abcd"[i], "abcd"[j]}) for i, j in zip(pick(4), pick(4), strict=True)],
            "born": pd.to_datetime([10**9 + 86_401 * i for i in pick(9000)], unit="s"),
            "died": pd.to_datetime([15 * 10**8 + 3_607 * i for i in pick(9000)], unit="s"),
            "note": [f"note {i}" for i in pick(7)],
            "title": [f"title {i}" for i in pick(5)],
        }
    )
    for i, column in enumerate(["colour", "street", "tags", "born", "died"]):
        df.loc[df.index[i::7], column] = None
    df.loc[df.index[3], "tags"] = ""  # a set without elements
    text = TextEmbedderConfig(embed)
    return Dataset(df, KINDS, col_to_sep=",", col_to_text_embedder_cfg=text).materialize()


DATASET = people()
FRAME = DATASET.tensor_frame
FRAME.feat_dict[stype.embedding].values = FRAME.feat_dict[stype.embedding].values.double()
TABLE = TableSchema({c: ColumnSchema(k.value, stats_to_json(DATASET.col_stats[c])) for c, k in KINDS.items()})
CONSTANT = TableSchema({"one": ColumnSchema("numerical", {"MEAN": 1.0, "STD": 0.0, "QUANTILES": [1.0] * 5})})
SCHEMA = GraphSchema({"people": TABLE, "items": TABLE, "keys": CONSTANT})
ONES = TensorFrame({stype.numerical: torch.ones(5, 1)}, {stype.numerical: ["one"]})


def build(cls, schema=SCHEMA, **arguments):
    """An encoder with parameters of a size at which every column counts, in float64 and without dropout."""
    torch.manual_seed(0)
    encoder = cls(**arguments)
    encoder.build(schema, CHANNELS)
    for name, parameter in encoder.named_parameters():
        if "categorical" not in name:  # keeps the vector of the missing category at zero
            nn.init.normal_(parameter, std=0.3)
    return encoder.double().eval()


def plain_columns():
    return {
        stype.numerical: LinearEncoder(),
        stype.categorical: EmbeddingEncoder(),
        stype.multicategorical: MultiCategoricalEmbeddingEncoder(),
        stype.timestamp: TimestampEncoder(),
        stype.embedding: LinearEmbeddingEncoder(),
    }


class PlainLinear(nn.Module):
    def __init__(self, table):
        super().__init__()
        columns = table.columns_by_stype()
        self.encoder = StypeWiseFeatureEncoder(CHANNELS, table.column_stats(), columns, plain_columns())
        self.linear = nn.Linear(CHANNELS * len(table.columns), CHANNELS)

    def forward(self, frame):
        return self.linear(self.encoder(frame)[0].flatten(1))


def plain(encoder, name):
    """PyTorch Frame's network for a table, with the parameters of ours."""
    table = SCHEMA.tables[name]
    columns, stats = table.columns_by_stype(), table.column_stats()
    encoders = {kind: e for kind, e in plain_columns().items() if kind in columns}
    if isinstance(encoder, LinearTableEncoder):
        model = PlainLinear(table)
    elif isinstance(encoder, ResNetTableEncoder):
        model = ResNet(CHANNELS, CHANNELS, encoder.num_layers, stats, columns, encoders)
    else:
        model = FTTransformer(CHANNELS, CHANNELS, encoder.num_layers, stats, columns, encoders)
    model = model.double().eval()
    model.load_state_dict(encoder.models[name].state_dict())
    return model


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters()}


@pytest.mark.parametrize("num_rows", [3, 40])  # too few rows to fold most columns, and enough for all
@pytest.mark.parametrize("cls", CLASSES)
def test_equals_pytorch_frame(cls, num_rows):
    encoder = build(cls)
    model = plain(encoder, "people")
    frame = FRAME[:num_rows]
    out, expected = encoder({"people": frame})["people"], model(frame)
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-6)
    weight = torch.randn(expected.shape, dtype=torch.float64)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    for name, grad in gradients(model).items():
        found = gradients(encoder.models["people"])[name]
        torch.testing.assert_close(found, grad, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
    assert all(p.grad is None for p in encoder.models["items"].parameters())


@pytest.mark.parametrize("cls", CLASSES)
def test_one_constant_column(cls):
    encoder = build(cls)
    torch.testing.assert_close(encoder({"keys": ONES})["keys"], plain(encoder, "keys")(ONES))


@pytest.mark.parametrize("cls", CLASSES)
def test_views_in_one_pass_equal_each_view_alone(cls):
    encoder = build(cls)
    other = FRAME[torch.randperm(len(FRAME), generator=torch.Generator().manual_seed(1))]
    out = encoder({"items": [FRAME, other], "keys": [ONES, ONES]})
    assert out["items"].shape == (40, 2, CHANNELS)
    assert out["keys"].shape == (5, 2, CHANNELS)
    for view, frame in enumerate([FRAME, other]):
        torch.testing.assert_close(out["items"][:, view], encoder({"items": frame})["items"])
    assert encoder({"items": [FRAME]})["items"].shape == (40, 1, CHANNELS)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_table_without_rows(cls):
    encoder = build(cls).train()
    out = encoder({"people": FRAME[:0], "items": [FRAME[:0]] * 2, "keys": ONES})
    assert out["people"].shape == (0, CHANNELS)
    assert out["items"].shape == (0, 2, CHANNELS)
    sum(x.sum() for x in out.values()).backward()
    # Data-parallel training waits for the gradient of every parameter.
    assert all(p.grad is not None for p in encoder.models["people"].parameters())
    assert encoder({}) == {}
    assert encoder.eval()({"people": FRAME[:0]})["people"].shape == (0, CHANNELS)


def broken_frame():
    """Cells that PyTorch Frame's encoders turn into NaN or refuse."""
    feats = dict(FRAME[:6].feat_dict)
    numbers = feats[stype.numerical].clone()
    numbers[:5, 0] = torch.tensor([math.nan, math.inf, -math.inf, 3e38, -3e38])
    values = feats[stype.embedding].values.clone()
    values[0, 2], values[1, 9] = math.nan, math.inf
    times = feats[stype.timestamp].clone()
    times[0, 0] = torch.tensor([1066, 9, 13, 5, 9, 0, 0])  # before the first training year
    times[1] = -1
    text = MultiEmbeddingTensor(6, 2, values, feats[stype.embedding].offset)
    feats |= {stype.numerical: numbers, stype.embedding: text, stype.timestamp: times}
    feats[stype.categorical] = torch.full_like(feats[stype.categorical], -1)
    return TensorFrame(feats, FRAME.col_names_dict)


@pytest.mark.parametrize("cls", CLASSES)
def test_any_cell_gives_finite_values_and_gradients(cls):
    encoder = build(cls).train()
    out = encoder({"people": [broken_frame(), FRAME[:6]]})["people"]
    assert out.isfinite().all()
    out.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.models["people"].parameters())


@pytest.mark.parametrize("cls", CLASSES)
def test_missing_numbers_and_vectors_are_encoded_as_zeros(cls):
    columns = build(cls).models["people"]
    columns = (columns.encoder if isinstance(columns, ResNet) else columns["encoder"]).encoder_dict
    frame = broken_frame()
    encoded = columns["embedding"](frame.feat_dict[stype.embedding])
    assert encoded.any(dim=-1)[:3].tolist() == [[False, True], [True, False], [True, True]]
    encoded = columns["numerical"](frame.feat_dict[stype.numerical])
    assert encoded.any(dim=-1)[:2].tolist() == [[False, True], [True, True]]


def test_the_order_of_column_types_in_a_frame_does_not_matter():
    encoder = build(ResNetTableEncoder)
    backwards = TensorFrame(dict(reversed(FRAME.feat_dict.items())), dict(reversed(FRAME.col_names_dict.items())))
    torch.testing.assert_close(encoder({"people": backwards}), encoder({"people": FRAME}))


def test_folding_is_chosen_where_it_saves_multiplications():
    assert folding_pays(rows=400, features=2, channels=128, out_channels=256)
    assert folding_pays(rows=400, features=57, channels=128, out_channels=128)
    assert not folding_pays(rows=3, features=57, channels=128, out_channels=256)
    assert not folding_pays(rows=400, features=301, channels=128, out_channels=256)


@pytest.mark.parametrize("cls", CLASSES)
def test_columns_without_statistics_count_for_nothing(cls):
    empty = {name: {s: _default_values[s] for s in StatType.stats_for_stype(k.parent)} for name, k in KINDS.items()}
    stats = {name: stats_to_json(values) for name, values in empty.items()}
    stats["note"] = stats["title"] = {"EMB_DIM": 6}
    table = TableSchema({name: ColumnSchema(kind.value, stats[name]) for name, kind in KINDS.items()})
    encoder = build(cls, GraphSchema({"people": table}))
    feats = {kind: FRAME.feat_dict[kind] for kind in (stype.numerical, stype.timestamp, stype.embedding)}
    feats[stype.categorical] = torch.full((40, 2), -1)
    feats[stype.multicategorical] = MultiNestedTensor(40, 1, torch.full((40,), -1), torch.arange(41))
    frame = TensorFrame(feats, FRAME.col_names_dict)
    blank = copy.copy(feats)
    blank[stype.numerical] = torch.full((40, 2), math.nan)
    blank[stype.timestamp] = torch.full((40, 2, 7), -1)
    out = encoder({"people": frame})["people"]
    assert out.isfinite().all()
    torch.testing.assert_close(out, encoder({"people": TensorFrame(blank, FRAME.col_names_dict)})["people"])
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_text_column_without_text_in_training():
    text = {"a": ColumnSchema("text_embedded", {"EMB_DIM": -1}), "b": ColumnSchema("text_embedded", {"EMB_DIM": 2})}
    encoder = build(LinearTableEncoder, GraphSchema({"t": TableSchema(text)}))
    values = MultiEmbeddingTensor(3, 2, torch.randn(3, 2, dtype=torch.float64), torch.tensor([0, 0, 2]))
    assert encoder({"t": TensorFrame({stype.embedding: values}, {stype.embedding: ["a", "b"]})})["t"].isfinite().all()


def test_numbers_are_cut_only_beyond_training_and_ten_deviations():
    stats = {"MEAN": 0.0, "STD": 1.0, "QUANTILES": [-50.0, -1.0, 0.0, 1.0, 2.0]}
    schema = GraphSchema({"t": TableSchema({"x": ColumnSchema("numerical", stats)})})
    columns = build(LinearTableEncoder, schema).models["t"]["encoder"].encoder_dict["numerical"]
    x = torch.tensor([[-1e9], [-50.0], [-30.0], [9.0], [MAX_DEVIATION], [11.0], [1e9], [math.nan]])
    number, present = columns.features(x).squeeze(1).unbind(-1)
    expected = torch.tensor([-50.0, -50.0, -30.0, 9.0, 10.0, 10.0, 10.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(number, expected, rtol=1e-5, atol=1e-5)
    assert present.tolist() == [1, 1, 1, 1, 1, 1, 1, 0]


@pytest.mark.parametrize("cls", CLASSES)
def test_bf16_autocast(cls):
    encoder = build(cls).float().train()
    with torch.autocast("cpu", torch.bfloat16):
        out = encoder({"people": [FRAME, FRAME], "keys": [ONES, ONES]})
    sum(x.float().square().sum() for x in out.values()).backward()
    for table in ("people", "keys"):
        grads = [p.grad for p in encoder.models[table].parameters()]
        assert all(grad.isfinite().all() and grad.dtype == torch.float32 for grad in grads)
    encoder.eval()
    exact = encoder({"people": FRAME})["people"]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder({"people": FRAME})["people"]
    assert (exact - rounded.float()).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("cls", CLASSES)
def test_parameters_exist_after_build_and_survive_a_state_dict(cls):
    encoder = cls()
    assert not list(encoder.parameters())
    encoder.build(SCHEMA, CHANNELS)
    before = [id(p) for p in encoder.parameters()]
    encoder.build(SCHEMA, 2 * CHANNELS)
    assert before == [id(p) for p in encoder.parameters()]
    assert before
    twin = cls()
    twin.build(SCHEMA, CHANNELS)
    twin.load_state_dict(encoder.state_dict())
    frames = {"people": FRAME, "items": FRAME, "keys": ONES}
    for a, b in zip(encoder.eval()(frames).values(), twin.eval()(frames).values(), strict=True):
        assert torch.equal(a, b)


def test_dropout_keeps_the_mean_and_is_off_in_evaluation():
    encoder = build(ResNetTableEncoder).float()
    exact = encoder({"people": FRAME})["people"]
    assert torch.equal(exact, encoder({"people": FRAME})["people"])
    encoder.train()
    torch.manual_seed(1)
    first = encoder({"people": FRAME})["people"]
    assert not torch.equal(first, encoder({"people": FRAME})["people"])
    torch.manual_seed(1)
    assert torch.equal(first, encoder({"people": FRAME})["people"])


def test_keep_mask():
    torch.manual_seed(0)
    for shape, dropout, dtype in (((999, 999), 0.2, torch.float32), ((300, 301), 0.75, torch.bfloat16)):
        keep, probability = keep_mask(torch.empty(shape, dtype=dtype), dropout)
        assert keep.shape == shape
        assert keep.dtype == dtype
        assert set(keep.unique().tolist()) == {0.0, 1.0}
        assert abs(probability - (1 - dropout)) < 1e-4
        assert abs(keep.double().mean() - (1 - dropout)) < 5e-3
        assert keep.double().mean(0).std() < 0.1
        assert keep.double().mean(1).std() < 0.1


def test_grouped_linear_equals_one_map_per_group():
    torch.manual_seed(0)
    maps = nn.ModuleList([nn.Linear(5, 4, bias=False) for _ in range(3)]).double()
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    expected = torch.cat([linear(rows) for rows, linear in zip(x.split([3, 0, 4]), maps, strict=True)])
    assert_same_gradients(grouped_linear(x, [3, 0, 4], maps), expected, [x, *maps.parameters()])


@pytest.mark.parametrize("has_linear", [False, True])
@pytest.mark.parametrize("has_message", [False, True])
@pytest.mark.parametrize("has_shortcut", [False, True])
def test_grouped_layer_equals_its_parts(has_linear, has_message, has_shortcut):
    torch.manual_seed(0)
    sizes = [6, 0, 3]
    linears, norms = ([cls(5, 5) if cls is nn.Linear else cls(5) for _ in sizes] for cls in (nn.Linear, nn.LayerNorm))
    modules = nn.ModuleList(linears * has_linear + norms).double()
    for parameter in modules.parameters():
        nn.init.normal_(parameter)
    inputs = torch.randn(3, sum(sizes), 5, dtype=torch.float64, requires_grad=True)
    xs, messages, shortcuts = ([part for part in x.split(sizes)] for x in inputs.unbind())
    expected = [
        norm((lin(x) if has_linear else x) + m * has_message).relu() + s * has_shortcut
        for x, lin, norm, m, s in zip(xs, linears, norms, messages, shortcuts, strict=True)
    ]
    parts = {"messages": messages if has_message else None, "shortcuts": shortcuts if has_shortcut else None}
    out = grouped_layer(xs, linears if has_linear else None, norms, **parts)
    assert_same_gradients(torch.cat(out), torch.cat(expected), [inputs, *modules.parameters()])


def assert_same_gradients(out, expected, inputs):
    torch.testing.assert_close(out, expected)
    weight = torch.randn_like(expected)
    for a, b in zip(*(torch.autograd.grad((y * weight).sum(), inputs) for y in (out, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_dropout_scales_what_it_keeps():
    norm = nn.LayerNorm(64).double()
    x = torch.randn(50, 64, dtype=torch.float64, requires_grad=True)
    (out,) = grouped_layer([x], None, [norm], dropout=0.5)
    kept = (out > 0).double()
    assert 0.4 < kept.sum() / (norm(x) > 0).sum() < 0.6
    assert_same_gradients(out, norm(x).relu() * 2 * kept, [x, *norm.parameters()])


def test_sparse_matrix_equals_a_dense_one():
    row, col, value = torch.tensor([2, 0, 2, 2]), torch.tensor([1, 3, 0, 1]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    dense = torch.zeros(4, 5, dtype=torch.float64).index_put_((row, col), value.double(), accumulate=True)
    matrix = SparseMatrix(row, col, value, 4, 5)
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(matrix @ x, dense @ x)
    torch.testing.assert_close(matrix.transposed.multiply(dense), dense.T @ dense)
    assert torch.autograd.gradcheck(lambda y: matrix @ y, x)
    nothing = torch.empty(0, dtype=torch.long)
    assert (SparseMatrix(nothing, nothing, value[:0], 0, 5) @ x).shape == (0, 3)
    assert torch.equal(SparseMatrix(nothing, nothing, value[:0], 2, 0) @ x[:0], torch.zeros(2, 3, dtype=torch.float64))


def test_errors_name_the_table_and_the_remedy():
    encoder = build(LinearTableEncoder)
    with pytest.raises(ValueError, match="no encoder for table 'towns'"):
        encoder({"towns": FRAME})
    with pytest.raises(ValueError, match=r"table 'keys' has the columns .* materialise"):
        encoder({"keys": FRAME})
    with pytest.raises(ValueError, match="table 't' has no columns"):
        LinearTableEncoder().build(GraphSchema({"t": TableSchema({})}), CHANNELS)
    with pytest.raises(ValueError, match="table 't' has column types \\['sequence_numerical'\\]"):
        LinearTableEncoder().build(GraphSchema({"t": TableSchema({"x": ColumnSchema("sequence_numerical")})}), CHANNELS)
    with pytest.raises(ValueError, match="num_heads=3"):
        TransformerTableEncoder(num_heads=3).build(SCHEMA, CHANNELS)
    with pytest.raises(ValueError, match="num_layers"):
        ResNetTableEncoder(num_layers=0)
