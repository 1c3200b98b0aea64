"""Assertions in every form, and what is said of bad ones."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from relbench_pretrain.hypergraph import HypergraphError, read_assertions

DUMP = [
    "/a/[1]\t/r/IsA\t/c/en/dog/n\t/c/en/pet\t" + '{"weight": 2.0}',
    "/a/[2]\t/r/RelatedTo\t/c/en/dog/v\t/c/en/hot_dog\t" + '{"weight": 2.5}',
    "/a/[3]\t/r/RelatedTo\t/c/en/pet\t/c/en/dog\t" + '{"weight": 1.5}',
    "/a/[4]\t/r/Synonym\t/c/en/dog\t/c/fr/chien\t" + '{"weight": 9.0}',
    "/a/[5]\t/r/ExternalURL\t/c/en/dog\thttp://dbpedia.org/resource/Dog\t" + '{"weight": 9.0}',
    "/a/[6]\t/r/RelatedTo\t/c/en/dog/n\t/c/en/dog/v\t" + '{"weight": 9.0}',
    "/a/[7]\t/r/RelatedTo\t/c/fr/chien\t/c/fr/chat\t" + '{"weight": 9.0}',
]


def strengths(assertions):
    names, found = assertions.concepts, assertions.strength.tocoo()
    return {(names[i], names[j]): w for i, j, w in zip(found.row, found.col, found.data, strict=True)}


@pytest.mark.parametrize("name", ["a.tsv", "a.csv.gz"])
def test_the_dump_of_conceptnet(tmp_path, name):
    path = tmp_path / name
    path.write_bytes((gzip.compress if name.endswith("gz") else bytes)(("\n".join(DUMP) + "\n").encode()))
    found = read_assertions(path)
    once = {("dog", "pet"): 3.5, ("dog", "hot dog"): 2.5}
    assert strengths(found) == once | {(b, a): w for (a, b), w in once.items()}
    assert found.related("dog") == ["pet", "hot dog"]
    assert read_assertions(path, "fr").related("chien") == ["chat"]


def test_triples_as_lines_and_as_parquet_are_the_same(tmp_path):
    rows = [("dog", "IsA", "pet"), ("pet", "NotA", "dog"), ("dog", "IsA", "bark"), ("dog", "IsA", "ant"),
            ("/c/en/dog/n", "IsA", "/c/fr/chien"), ("dog", "Url", "http://dbpedia.org/resource/Dog")]  # fmt: skip
    folder = tmp_path / "both"
    folder.mkdir()
    lines = ["head\trelation\ttail", *("\t".join(row) for row in rows)]
    (tmp_path / "a.tsv").write_text("\n".join(lines) + "\n\n")
    pd.DataFrame(rows[:2], columns=["head", "relation", "tail"]).to_parquet(folder / "a.parquet")
    pd.DataFrame(rows[2:], columns=["head", "relation", "tail"]).to_parquet(folder / "b.parquet")
    (folder / "LICENSE").write_text("not a row")
    first, second = read_assertions(tmp_path / "a.tsv"), read_assertions(folder)
    assert strengths(first) == strengths(second)
    assert first.related("dog") == ["pet", "ant", "bark"]  # two assertions, then by name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dog\tpet", "a.tsv, line 3: 2 fields"),
        ("dog\t\tpet", "a.tsv, line 3: 3 fields"),
        ("/a/[1]\t/r/IsA\t/c/en/dog\t/c/en/pet\tweight 1", "a.tsv, line 3: weight 1 should be JSON"),
        ("/a/[1]\t/r/IsA\t/c/en/dog\t/c/en/pet\t[1]", "a.tsv, line 3"),
        ('/a/[1]\t/r/IsA\t/c/en/dog\t/c/en/pet\t{"weight": 0}', "a.tsv, line 3: weight 0.0 should be above 0"),
        ('/a/[1]\t/r/IsA\t/c/en/dog\t/c/en/pet\t{"weight": NaN}', "weight nan"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, message):
    (tmp_path / "a.tsv").write_text(f"dog\tIsA\tpet\n\n{line}\n")
    with pytest.raises(HypergraphError) as error:
        read_assertions(tmp_path / "a.tsv")
    assert message in str(error.value)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(HypergraphError, match="there is no file"):
        read_assertions(tmp_path / "none.tsv")
    with pytest.raises(HypergraphError, match="holds no assertion"):
        read_assertions(tmp_path)
    (tmp_path / "latin.tsv").write_bytes("dog\tIsA\tpet\nöl\tIsA\tpet\n".encode("latin-1"))
    with pytest.raises(HypergraphError, match=r"latin\.tsv.*UTF-8"):
        read_assertions(tmp_path / "latin.tsv")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"dog\tIsA\tpet\n" * 10)[:-9])
    with pytest.raises(HypergraphError, match=r"cut\.gz.*whole"):
        read_assertions(tmp_path / "cut.gz")
    pd.DataFrame({"head": ["dog"], "tail": ["pet"]}).to_parquet(tmp_path / "two.parquet")
    with pytest.raises(HypergraphError, match=r"two\.parquet.*head, relation, tail"):
        read_assertions(tmp_path / "two.parquet")
    gap = pd.DataFrame({"head": ["dog", None], "relation": ["IsA", "IsA"], "tail": ["pet", "pet"]})
    gap.to_parquet(tmp_path / "gap.parquet")
    with pytest.raises(HypergraphError, match=r"gap\.parquet, row 1: head None"):
        read_assertions(tmp_path / "gap.parquet")


def test_real_triples(shared_data):
    found = read_assertions(shared_data / "hypergraph" / "conceptnet-100k")
    assert found.related("dog")[:3] == ["bone", "cat", "flea"]
    assert abs(found.strength - found.strength.T).max() == 0
    assert found.strength.diagonal().max() == 0
