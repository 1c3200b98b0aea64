"""A small multimodal knowledge graph whose unseen relations follow from images, texts and structure."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from relbench_pretrain.files import atomic_folder, cache_root

SHAPES, COLORS, PATTERNS = ("wide", "tall"), ("red", "blue"), ("plain", "striped")
TOPICS = ("music", "trade", "farming", "sailing")
REGIONS = ("north", "south", "east", "west")
SIZE = 32
"""Width and height of the images in pixels."""


def demo_graph_folder(num_entities: int = 640, num_seen: int = 160, seed: int = 0) -> Path:
    """Returns the folder of the demo graph in the package's cache, and writes it where it is not there yet."""
    folder = cache_root() / f"demo_kg-4-{num_entities}-{num_seen}-{seed}"  # 4: the way it is made
    if not (folder / "relations.tsv").is_file():
        with atomic_folder(folder) as part:
            write_demo_graph(part, num_entities, seed, num_seen)
    return folder


def write_demo_graph(
    folder: str | Path,
    num_entities: int = 640,
    seed: int = 0,
    num_seen: int = 160,
    num_validation: int = 20,
    num_unseen: int = 20,
    missing: float = 0.1,
    num_triples: int = 12,
    num_heads: int = 8,
) -> Path:
    """Writes the demo graph.

    Every entity has a look (shape, colour and pattern), which only its image shows; a topic, which only its
    description names; and a region, which only its neighbours share. A relation leads from entities of one topic and
    region to entities of one look, topic and region, and its sentence says so. So a model can rank the tails of an
    unseen relation once it has learned from the seen ones what the words mean in images, texts and triples. Of a seen
    relation few triples are given, so that they reveal little of an entity; of validation and unseen ones all tails of
    some heads, so that a ranking can be perfect.

    Args:
        folder: The folder to write; it must not exist or be empty.
        num_entities: The number of entities.
        seed: Another seed gives another graph.
        num_seen: Seen relations, beside one of neighbours for each region.
        num_validation: Relations held out for validation.
        num_unseen: Unseen relations.
        missing: Share of entities without an image, and of others without a description.
        num_triples: Triples of a seen relation.
        num_heads: Heads of any other one, each with all its tails.

    Returns:
        The folder.
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    look = rng.integers(0, 2, (num_entities, 3))
    topic, region = rng.integers(0, len(TOPICS), num_entities), rng.integers(0, len(REGIONS), num_entities)
    names = [f"e{i}" for i in range(num_entities)]
    lacks = rng.random((num_entities, 2)) < missing
    for i, name in enumerate(names):
        if not lacks[i, 0]:
            Image.fromarray(draw(look[i, 0], look[i, 1], look[i, 2], rng)).save(folder / "images" / f"{name}.png")
    descriptions = ["" if lacks[i, 1] else f"Known for {TOPICS[topic[i]]}." for i in range(num_entities)]
    pd.DataFrame({"entity": names, "name": names, "description": descriptions}).to_csv(
        folder / "entities.tsv", sep="\t", index=False
    )
    relations, triples = _neighbors(region, rng)
    split = ["seen"] * num_seen + ["validation"] * num_validation + ["unseen"] * num_unseen
    for i, part in enumerate(split):
        text, heads, tails = _leading(look, topic, region, rng)
        relations.append((f"leads_{i}", text, part))
        if part != "seen":
            heads = np.sort(rng.choice(heads, min(len(heads), num_heads), replace=False))
        pairs = [(int(h), f"leads_{i}", int(t)) for h in heads for t in tails if h != t]
        most = num_triples if part == "seen" else len(pairs)
        triples += (
            [pairs[j] for j in sorted(rng.choice(len(pairs), min(len(pairs), most), replace=False))] if pairs else []
        )
    role = {name: part for name, _, part in relations}
    pd.DataFrame(relations, columns=["relation", "description", "split"]).to_csv(
        folder / "relations.tsv", sep="\t", index=False
    )
    for part, wanted in (("train", "seen"), ("valid", "validation"), ("test", "unseen")):
        lines = [f"{names[h]}\t{r}\t{names[t]}\n" for h, r, t in triples if role[r] == wanted]
        (folder / f"{part}.tsv").write_text("".join(lines))
    return folder


def _neighbors(region: np.ndarray, rng: np.random.Generator) -> tuple[list[tuple[str, str, str]], list[tuple]]:
    """Joins every entity with three others of its region, under a relation that names the region."""
    relations, triples = [], []
    for number, word in enumerate(REGIONS):
        members = np.flatnonzero(region == number)
        relations.append((f"near_{word}", f"Neighbours in the {word}.", "seen"))
        for entity in members if len(members) > 3 else ():
            others = rng.choice(members[members != entity], 3, replace=False)
            triples += [(int(entity), f"near_{word}", int(other)) for other in others]
    return relations, triples


def _leading(
    look: np.ndarray, topic: np.ndarray, region: np.ndarray, rng: np.random.Generator
) -> tuple[str, np.ndarray, np.ndarray]:
    """Draws a relation, and returns its sentence, its heads and its tails."""
    places, looks = list(product(range(len(TOPICS)), range(len(REGIONS)))), list(product(range(2), repeat=3))
    (head_topic, head_region), (tail_topic, tail_region) = (places[j] for j in rng.integers(0, len(places), 2))
    shape, color, pattern = tail_look = looks[rng.integers(len(looks))]
    heads = np.flatnonzero((topic == head_topic) & (region == head_region))
    tails = np.flatnonzero((look == tail_look).all(1) & (topic == tail_topic) & (region == tail_region))
    text = (
        f"From {TOPICS[head_topic]} in the {REGIONS[head_region]} to {SHAPES[shape]} {COLORS[color]} "
        f"{PATTERNS[pattern]} {TOPICS[tail_topic]} in the {REGIONS[tail_region]}."
    )
    return text, heads, tails


def draw(shape: int, color: int, pattern: int, rng: np.random.Generator) -> np.ndarray:
    """Draws an image of an entity, with place, size, brightness and noise at random.

    Args:
        shape: Number of its shape.
        color: Number of its colour.
        pattern: Number of its pattern.
        rng: Draws place, size, brightness and noise.

    Returns:
        Red, green and blue, uint8 ``(SIZE, SIZE, 3)``.
    """
    y, x = np.mgrid[:SIZE, :SIZE]
    center, length = rng.integers(12, 20, 2), rng.integers(9, 12)
    reach = (length, length // 2) if SHAPES[shape] == "wide" else (length // 2, length)
    inside = (np.abs(x - center[0]) <= reach[0]) & (np.abs(y - center[1]) <= reach[1])
    if PATTERNS[pattern] == "striped":
        inside &= (x + y) // 4 % 2 == 0
    image = np.full((SIZE, SIZE, 3), rng.integers(150, 200), dtype=float)
    tone = rng.integers(160, 240)
    image[inside] = (tone, 30, 30) if COLORS[color] == "red" else (30, 30, tone)
    return (image + rng.normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8)
