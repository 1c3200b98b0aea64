"""Prompts, and the forms in which edges come back."""

from __future__ import annotations

import numpy as np
import pytest

from relbench_pretrain.hypergraph import answer_dissimilarity, edge_prompt, parse_answer
from relbench_pretrain.hypergraph.concepts.answers import Answer, edge_text
from relbench_pretrain.hypergraph.conversion import from_names

CONCEPTS = ["cake", "birthday", "dessert", "on", "yo-yo", "hot dog", "room, board"]
CAKE, BIRTHDAY, DESSERT, ON, YOYO, HOT_DOG, ROOM = range(len(CONCEPTS))

FORMS = {
    "as asked": ('("cake", "birthday")\n("yo-yo", "on")', [(CAKE, BIRTHDAY), (ON, YOYO)]),
    "bare names": ("(cake, birthday), (Cake, DESSERT)", [(CAKE, BIRTHDAY), (CAKE, DESSERT)]),
    "after a heading": ("Edges: (cake, birthday), (cake, on)", [(CAKE, BIRTHDAY), (CAKE, ON)]),
    "JSON": ('[["cake", "birthday"],\n ["cake",\n "hot_dog"]]', [(CAKE, BIRTHDAY), (CAKE, HOT_DOG)]),
    "Python": ("Sure:\n```\n[('cake',\n 'on'), ('on', 'cake')]\n```\nHope, it helps.", [(CAKE, ON)]),
    "by concept": ('{"cake": ["birthday", "on"], "on": "yo-yo"}', [(CAKE, BIRTHDAY), (CAKE, ON), (ON, YOYO)]),
    "nodes and edges": ('{"nodes": ["cake", "on"], "edges": [{"from": "cake", "to": "on"}]}', [(CAKE, ON)]),
    "texts in JSON": ('["cake - birthday", "cake - on"]', [(CAKE, BIRTHDAY), (CAKE, ON)]),
    "numbered": ("1. cake - birthday\n2) cake – dessert\n3: yo-yo — on\n* cake -- on",
                 [(CAKE, BIRTHDAY), (CAKE, DESSERT), (CAKE, ON), (ON, YOYO)]),
    "emphasis": ("- **Cake** - **Birthday**\n- `cake` -> `on`", [(CAKE, BIRTHDAY), (CAKE, ON)]),
    "reasons": ('"cake" -> "on" (so, so)\ncake - birthday: sweet\ncake - dessert - eaten', 
                [(CAKE, BIRTHDAY), (CAKE, DESSERT), (CAKE, ON)]),
    "escapes": ('("hot\\_dog", "cake")\nhot\\_dog - on', [(CAKE, HOT_DOG), (ON, HOT_DOG)]),
    "neighbours": ("cake: birthday, dessert and on\non: [yo-yo, hot dog]",
                   [(CAKE, BIRTHDAY), (CAKE, DESSERT), (CAKE, ON), (ON, YOYO), (ON, HOT_DOG)]),
    "one line": ("cake - birthday, cake - on; yo-yo to on", [(CAKE, BIRTHDAY), (CAKE, ON), (ON, YOYO)]),
    "close": ("cake-birthday\nyo-yo-on", [(CAKE, BIRTHDAY), (ON, YOYO)]),
    "table": ("| cake | birthday |\n|---|---|\n| dessert | on |", [(CAKE, BIRTHDAY), (DESSERT, ON)]),
    "chain": ("cake -> birthday -> on", [(CAKE, BIRTHDAY), (BIRTHDAY, ON)]),
    "a name with a comma": ('("room, board", "cake")\n"room, board" - "on"', [(CAKE, ROOM), (ON, ROOM)]),
    "cut off": ('[("cake", "birthday"), ("cake", "on"), ("des', [(CAKE, BIRTHDAY), (CAKE, ON)]),
    "graphviz": ('graph {\n cake -- birthday;\n on -- "hot dog";\n}', [(CAKE, BIRTHDAY), (ON, HOT_DOG)]),
    "prose": ("I cannot say - sorry, really.\nThe concepts are [cake, birthday, on].", []),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_edges_are_read_in_many_forms(form):
    text, edges = FORMS[form]
    assert parse_answer(text, CONCEPTS) == Answer(sorted(edges), 0, 0)


def test_loops_and_strangers_are_left_out_and_counted():
    text = '("cake", "cake")\n("cake", "rock")\n("rock", "sand")\n("cake", "on")'
    assert parse_answer(text, CONCEPTS) == Answer([(CAKE, ON)], 1, 2)
    assert parse_answer("cake - rock\nrock - cake\nyo-yo: rock, on", CONCEPTS) == Answer([(ON, YOYO)], 0, 3)


def test_any_edges_written_as_asked_come_back():
    rng = np.random.default_rng(0)
    names = ["a", "B c", 'say "x"', "d, e", "it's", "f - g", "h:i", "(j)", "ö/ü"]
    for _ in range(20):
        pairs = {tuple(sorted(rng.choice(len(names), 2, replace=False).tolist())) for _ in range(6)}
        text = edge_text([(names[a], names[b]) for a, b in pairs])
        assert parse_answer(text, names).edges == sorted(pairs), text


def test_no_text_is_too_strange():
    rng = np.random.default_rng(0)
    pieces = [
        "cake",
        "on",
        "rock",
        '"',
        "'",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        " - ",
        "-",
        "\\",
        "\n",
        " ",
        "|",
        "and",
    ]
    for _ in range(3_000):
        found = parse_answer("".join(rng.choice(pieces, rng.integers(1, 30))), CONCEPTS)
        assert set(found.edges) <= {(CAKE, ON)}


def test_the_prompt_names_every_concept_and_how_many_are_related():
    prompt = edge_prompt(CONCEPTS, related=3)
    assert all(f'"{name}"' in prompt for name in CONCEPTS)
    assert "the 3 others" in prompt
    assert "undirected graph" in prompt


def test_difference_in_closed_form():
    star = from_names([["0", str(i)] for i in range(1, 5)])
    answer = Answer([(0, 1), (0, 2), (1, 2)], 0, 0)  # two of four right, one wrong: three wrong edges
    found = answer_dissimilarity(star, answer)
    assert (found.induced, found.entrywise, found.wrong_edges) == (2 / 4, 3 / 4, 3)
    assert (found.precision, found.recall) == (2 / 3, 2 / 4)


def test_no_edges_are_all_wrong():
    found = answer_dissimilarity(from_names([["a", "b"], ["b", "c"]]), Answer([], 0, 0))
    assert (found.induced, found.entrywise, found.wrong_edges, found.precision, found.recall) == (1, 1, 2, 0, 0)
