"""Table encoders against PyTorch Frame's own networks, and on the cells those cannot encode."""

import math

import pandas as pd
import pytest
import torch
import torch_frame
from torch_frame import stype
from torch_frame.config import TextEmbedderConfig
from torch_frame.data import Dataset
from torch_frame.data.stats import StatType
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

from relbench_pretrain.nn.attribute_encoders import MAX_DEVIATION
from relbench_pretrain.nn.grouped import grouped_linear, grouped_norm_relu, keep_mask
from relbench_pretrain.nn.table_encoders import LinearTableEncoder, ResNetTableEncoder, TransformerTableEncoder
from relbench_pretrain.relational.schema import ColumnSchema, GraphSchema, TableSchema, stats_to_json

CHANNELS = 16
ENCODERS = [LinearTableEncoder, ResNetTableEncoder, TransformerTableEncoder]
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


def people(num_rows=40, missing=True):
    """A table with two columns of most types, and some missing cells."""
    generator = torch.Generator().manual_seed(num_rows)
    draw = lambda high: torch.randint(high, (num_rows,), generator=generator).tolist()  # noqa: E731
    df = pd.DataFrame(
        {
            "age": torch.randn(num_rows, generator=generator).double().numpy(),
            "height": torch.randn(num_rows, generator=generator).double().numpy() * 10 + 170,
            "colour": [["red", "green", "blue"][i] for i in draw(3)],
            "street": [f"street {i}" for i in range(num_rows)],  # more categories than a small batch has rows
            "tags": [",".join({["a", "b", "c", "d"][i], ["a", "b", "c", "d"][j]}) for i, j in zip(draw(4), draw(4))],
            "born": pd.to_datetime([10**9 + 86_401 * i for i in draw(9000)], unit="s"),
            "died": pd.to_datetime([15 * 10**8 + 3_607 * i for i in draw(9000)], unit="s"),
            "note": [f"note {i}" for i in draw(7)],
            "title": [f"title {i}" for i in draw(5)],
        }
    )
    if missing:
        for i, column in enumerate(["colour", "street", "tags", "born", "died"]):
            df.loc[df.index[i :: 7], column] = None
        df.loc[df.index[3], "tags"] = ""  # a set without elements
    dataset = Dataset(
        df, KINDS, col_to_sep=",", col_to_text_embedder_cfg=TextEmbedderConfig(embed)
    ).materialize()
    return dataset


def table_schema(dataset):
    """The schema of a table, its columns in the order of the data frame."""
    columns = {c: ColumnSchema(kind.value, stats_to_json(dataset.col_stats[c])) for c, kind in KINDS.items()}
    return TableSchema(columns)


def schema_of(**datasets):
    return GraphSchema({name: table_schema(dataset) for name, dataset in datasets.items()})


@pytest.fixture(scope="module")
def dataset():
    return people()


def built(cls, schema, **arguments):
    torch.manual_seed(0)
    encoder = cls(**arguments)
    encoder.build(schema, CHANNELS)
    for parameter in encoder.parameters():  # PyTorch Frame starts biases at zero and weights near it
        torch.nn.init.normal_(parameter, std=0.5)
    for model in encoder.models.values():
        with torch.no_grad():
            for key, weight in model.encoder.state_dict().items() if hasattr(model, "encoder") else ():
                if "categorical" in key and key.endswith("weight"):
                    weight[0] = 0.0  # the missing category
            if not hasattr(model, "encoder"):
                for key, weight in model["encoder"].state_dict().items():
                    if "categorical" in key and key.endswith("weight"):
                        weight[0] = 0.0
    return encoder


def plain_encoders():
    return {
        stype.numerical: LinearEncoder(),
        stype.categorical: EmbeddingEncoder(),
        stype.multicategorical: MultiCategoricalEmbeddingEncoder(),
        stype.timestamp: TimestampEncoder(),
        stype.embedding: LinearEmbeddingEncoder(),
    }
