"""Reads knowledge graphs from folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd

from relbench_pretrain.knowledge_graph.data.graph import ROLES, KnowledgeGraph, KnowledgeGraphError, Role

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
NAME_COLUMNS = ("name", "label", "wikidata_label", "lemma")
TEXT_COLUMNS = ("description", "description_sentence", "definition", "wikidata_description")


def read_knowledge_graph(
    folder: str | Path, entity_texts: str | Path | None = None, relation_texts: str | Path | None = None
) -> KnowledgeGraph:
    """Reads a knowledge graph from a folder.

    The folder holds triples as ``train``, ``valid`` and ``test`` files, in itself or in ``triples/``: parquet with the
    columns head, relation and tail, or tab-separated without a header (``.tsv``, ``.txt``). Beside them, all optional:
    ``relations.parquet`` or ``.tsv`` (relation, description, split: seen, validation or unseen), ``entities.parquet``
    or ``.tsv`` (entity, name, description), ``candidates.parquet`` (relation, candidates: a list of entities),
    images as ``images/ENTITY.png``, and ``image_vectors.parquet`` (entity, vector). Where no split is given, the
    relations of the test file that are not in the training file are unseen, and those of the validation file likewise.

    The form in which NELL-ZS and Wiki-ZS (Qin et al. 2020) and FB15K-237-ZS (Cai et al. 2024) are published is read
    too: ``train_tasks.json``, ``dev_tasks.json``, ``test_tasks.json``, ``path_graph`` and ``rel2candidates*.json``.

    Args:
        folder: The folder.
        entity_texts: A table of the entities' names and descriptions elsewhere.
        relation_texts: A table of the relations' descriptions elsewhere, or ``wn18rr`` for the package's sentences on
            the relations of WordNet.

    Returns:
        The graph, with all entities that are listed or named by a triple.

    Raises:
        KnowledgeGraphError: If a file is missing or a row of one is bad; file and line are named.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise KnowledgeGraphError(f"'{folder}' is no folder: give one that holds the triples of a knowledge graph")
    tasks = sorted(folder.glob("*_tasks*.json"))
    named = list(_task_triples(folder) if tasks else _file_triples(folder))
    if not any(len(rows) for _, rows in named):
        raise KnowledgeGraphError(f"'{folder}' holds no triples: train.parquet, train.tsv or train.txt is missing")
    table = pd.concat([rows.assign(part=part) for part, rows in named], ignore_index=True)
    described = _table(folder, "relations", ("relation",))
    entity_table = _table(folder, "entities", ("entity",))
    listed = [] if entity_table is None else entity_table["entity"].astype(str).tolist()
    entities = list(dict.fromkeys([*listed, *pd.concat([table["head"], table["tail"]]).unique()]))
    relations = list(dict.fromkeys([*([] if described is None else described["relation"]), *table["relation"]]))
    entity_number = {name: i for i, name in enumerate(entities)}
    number = {name: i for i, name in enumerate(relations)}
    triples = np.stack(
        [table["head"].map(entity_number), table["relation"].map(number), table["tail"].map(entity_number)], axis=1
    ).astype(np.int64)
    texts = entity_table if entity_texts is None else _table_at(Path(entity_texts), ("entity",))
    names, descriptions = _texts_of(entities, texts)
    return KnowledgeGraph(
        entities=entities,
        relations=relations,
        triples=triples,
        role=_roles(folder, relations, described, table),
        names=names,
        descriptions=descriptions,
        relation_texts=_relation_texts(folder, relations, described, relation_texts),
        candidates=_candidates(folder, number, entity_number),
        images=_images(folder, entities),
        image_vectors=_image_vectors(folder, entity_number),
    )


def _file_triples(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields the triples of each part, from tables."""
    home = folder / "triples" if (folder / "triples").is_dir() else folder
    for part in ("train", "valid", "test"):
        found = [p for p in sorted(home.glob(f"{part}*")) if p.suffix in (".parquet", ".tsv", ".txt")]
        if len(found) > 1:
            raise KnowledgeGraphError(f"'{home}' has {len(found)} files of {part} triples, {found[0].name} and others")
        if not found:
            continue
        if found[0].suffix == ".parquet":
            yield part, _without_gaps(_table_at(found[0], ("head", "relation", "tail")), found[0])
        else:
            yield part, _tab_separated(found[0], ["head", "relation", "tail"])


def _task_triples(folder: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yields the triples of each part, from JSON files of triples by relation."""
    for part, pattern in (("train", "train_tasks*.json"), ("valid", "dev_tasks*.json"), ("test", "test_tasks*.json")):
        for path in sorted(folder.glob(pattern))[:1]:
            rows = []
            for relation, entries in _json(path).items():
                for entry in entries:
                    if len(entry) != 3 or entry[1] != relation:
                        raise KnowledgeGraphError(
                            f"{path}: relation '{relation}' holds {entry}; it should be [head, '{relation}', tail]"
                        )
                rows += entries
            yield part, pd.DataFrame(rows, columns=["head", "relation", "tail"]).astype(str)
    if (folder / "path_graph").is_file():
        yield "train", _tab_separated(folder / "path_graph", ["head", "relation", "tail"])


def _tab_separated(path: Path, columns: Sequence[str], header: bool = False) -> pd.DataFrame:
    """Reads lines of fields that are separated by tabs, and names the line that has too few or too many."""
    rows = []
    with path.open(encoding="utf-8") as file:
        for line, text in enumerate(file, start=1):
            fields = text.rstrip("\r\n").split("\t")
            if header and line == 1:
                columns = fields
            elif text.strip():
                if len(fields) != len(columns) or not all(fields[: 1 if header else None]):
                    raise KnowledgeGraphError(
                        f"{path}, line {line}: {len(fields)} fields {fields[:4]}; it should have "
                        f"{len(columns)}, separated by tabs: {', '.join(columns)}"
                    )
                rows.append(fields)
    return pd.DataFrame(rows, columns=list(columns), dtype=str)


def _table(folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame | None:
    for path in (folder / f"{name}.parquet", folder / f"{name}.tsv"):
        if path.is_file():
            return _table_at(path, columns)
    return None


def _table_at(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads a table, and requires columns of it."""
    if not path.is_file():
        raise KnowledgeGraphError(f"there is no file '{path}'")
    table = pd.read_parquet(path) if path.suffix == ".parquet" else _tab_separated(path, [], header=True)
    if missing := set(columns) - set(table.columns):
        raise KnowledgeGraphError(f"{path} lacks the columns {sorted(missing)}; it has {list(table.columns)}")
    for name in {"entity", "relation"} & set(table.columns):
        table[name] = table[name].astype(str)  # numbers are names, too
    return table


def _without_gaps(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Requires head, relation and tail in every row."""
    table = table[["head", "relation", "tail"]]
    bad = table.isna().any(axis=1).to_numpy()
    if bad.any():
        row = int(bad.argmax())
        raise KnowledgeGraphError(f"{path}, row {row}: {table.iloc[row].to_dict()} lacks a head, relation or tail")
    return table.astype(str)


def _json(path: Path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise KnowledgeGraphError(f"{path}, line {error.lineno}: {error.msg}") from None


def _texts_of(entities: list[str], table: pd.DataFrame | None) -> tuple[list[str], list[str]]:
    """Returns names and descriptions; of several columns that may hold them the first with a text."""
    if table is None:
        return [_readable(entity) for entity in entities], [""] * len(entities)
    by_entity = table.drop_duplicates("entity").set_index("entity").reindex(entities)

    def first(columns: Sequence[str]) -> list[str]:
        found = pd.Series("", index=by_entity.index, dtype=object)
        for column in columns:
            if column in by_entity:
                text = by_entity[column].fillna("").astype(str)
                found = found.where(found != "", text)
        return found.tolist()

    names = [name or _readable(entity) for name, entity in zip(first(NAME_COLUMNS), entities, strict=True)]
    return names, first(TEXT_COLUMNS)


def _readable(entity: str) -> str:
    """Makes a name of an address such as ``<http://dbpedia.org/resource/New_York>``."""
    if "://" not in entity:
        return entity
    return entity.strip("<>").rsplit("/resource/", 1)[-1].rsplit("/ontology/", 1)[-1].strip('"').replace("_", " ")


def _relation_texts(
    folder: Path, relations: list[str], described: pd.DataFrame | None, elsewhere: str | Path | None
) -> list[str]:
    if elsewhere is not None:
        path = Path(elsewhere)
        shipped = Path(str(files("relbench_pretrain.datasets"))) / f"{path.name}_relations.tsv"
        table = _table_at(shipped if shipped.is_file() and not path.exists() else path, ("relation", "description"))
        given = dict(zip(table["relation"], table["description"].fillna("").astype(str), strict=True))
        if missing := [relation for relation in relations if not given.get(relation)]:
            raise KnowledgeGraphError(f"{elsewhere} has no description of {missing[:3]}")
        return [given[relation] for relation in relations]
    texts: dict[str, str] = {}
    if described is not None and "description" in described:
        texts = dict(zip(described["relation"], described["description"].fillna("").astype(str), strict=True))
    for path in (folder / "rel_description.txt", folder / "relation_descriptions.tsv"):
        if path.is_file():
            found = _tab_separated(path, ["relation", "description"])
            texts |= dict(zip(found["relation"], found["description"], strict=True))
    return [texts.get(relation, "") for relation in relations]


def _roles(folder: Path, relations: list[str], described: pd.DataFrame | None, table: pd.DataFrame) -> np.ndarray:
    if described is not None and "split" in described:
        if unknown := set(described["split"]) - set(ROLES):
            raise KnowledgeGraphError(f"{folder}/relations: split is {sorted(unknown)}; it should be of {list(ROLES)}")
        role = dict(zip(described["relation"], described["split"].map(ROLES), strict=True))
        if missing := [relation for relation in relations if relation not in role]:
            raise KnowledgeGraphError(f"{folder}/relations gives no split for {missing[:3]}")
        return np.array([role[relation] for relation in relations], dtype=np.int64)
    parts = {part: set(rows["relation"]) for part, rows in table.groupby("part")}
    seen = parts.get("train", set())
    held_out = parts.get("valid", set()) - seen
    unseen = parts.get("test", set()) - seen - held_out
    return np.array(
        [Role.UNSEEN if r in unseen else Role.VALIDATION if r in held_out else Role.SEEN for r in relations],
        dtype=np.int64,
    )


def _candidates(folder: Path, relations: dict[str, int], entities: dict[str, int]) -> dict[int, np.ndarray]:
    """Reads the entities that the tails of each relation are ranked among; unknown ones are left out."""
    found: dict[str, Sequence[str]] = {}
    for path in sorted([*folder.glob("*candidates*.parquet"), *folder.glob("rel2candidates*.json")])[:1]:
        if path.suffix == ".json":
            found = _json(path)
        else:
            table = _table_at(path, ("relation", "candidates"))
            found = dict(zip(table["relation"], table["candidates"], strict=True))
    lists = {
        relations[relation]: np.unique(
            np.array([entities[str(e)] for e in listed if str(e) in entities], dtype=np.int64)
        )
        for relation, listed in found.items()
        if relation in relations
    }
    return {relation: listed for relation, listed in lists.items() if len(listed)}


def _images(folder: Path, entities: list[str]) -> list[Path | None]:
    if not (folder / "images").is_dir():
        return []
    by_stem = {path.stem: path for path in sorted((folder / "images").iterdir()) if path.suffix in IMAGE_ENDINGS}
    return [by_stem.get(entity.strip("/").replace("/", ".")) for entity in entities]


def _image_vectors(folder: Path, entities: dict[str, int]) -> np.ndarray | None:
    path = folder / "image_vectors.parquet"
    if not path.is_file():
        return None
    table = _table_at(path, ("entity", "vector"))
    widths = table["vector"].map(len)
    if widths.nunique() != 1:
        raise KnowledgeGraphError(f"{path}: vectors have {sorted(widths.unique())} values; all should have as many")
    vectors = np.full((len(entities), int(widths.iloc[0])), np.nan, dtype=np.float32)
    known = table[table["entity"].isin(entities)]
    if len(known):
        vectors[known["entity"].map(entities)] = np.stack(known["vector"].tolist())
    return vectors
