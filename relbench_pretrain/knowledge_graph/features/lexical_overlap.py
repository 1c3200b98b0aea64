"""Lexical overlap of texts: entities that are named in the descriptions of others, and shared words."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer

WORD = r"\w+"
MAX_WORDS = 6  # longer names are not looked for as a whole
MAX_BEARERS = 50  # a name that more entities have identifies none of them
WORDS = (
    "text of head names it", "text names head", "text of others names it", "text shares words with head",
    "text shares words with relation", "text of head has its name's words", "text has head's name's words",
    "text shares named entities with head",
)  # fmt: skip


class LexicalOverlap:
    """Compares texts word by word, as vectors of whole sentences blur names: "directed by Tony Kaye" names a tail.

    Args:
        names: The entities' names.
        descriptions: Their descriptions; empty for none.
        relation_texts: The relations' descriptions.

    Raises:
        ValueError: If no text of an entity has a letter or digit.
    """

    def __init__(self, names: Sequence[str], descriptions: Sequence[str], relation_texts: Sequence[str]) -> None:
        self.named = find_names(names, descriptions)
        if not any(_words(text) for text in (*names, *descriptions)):
            raise ValueError("no name or description of an entity has a word: leave text out of data.modalities")
        vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=WORD, dtype=np.float32)
        self.text = vectorizer.fit_transform([f"{a}. {b}" for a, b in zip(names, descriptions, strict=True)])
        self.relation = vectorizer.transform(relation_texts)
        weight = sp.diags(vectorizer.idf_.astype(np.float32))
        name = vectorizer.transform(names).sign() @ weight
        # The share of a name that a text has, by the weights of its words.
        self.name = sp.diags(1 / np.maximum(np.asarray(name.sum(1)).ravel(), 1e-6)) @ name
        linked = self.named.sign()
        self.often = np.log1p(np.asarray(linked.sum(0)).ravel())
        linked = linked + linked.T
        length = np.sqrt(np.asarray(linked.power(2).sum(1)).ravel())
        self.linked = sp.diags(1 / np.maximum(length, 1e-6)) @ linked
        # Each is multiplied by all entities: transposed once, in the order that products read.
        self.naming = self.named.T.tocsr()
        self.has = self.text.sign().tocsr()
        self.all_texts, self.all_has, self.all_names, self.all_linked = (
            m.T.tocsr() for m in (self.text, self.has, self.name, self.linked)
        )
        self.name, self.linked = self.name.tocsr(), self.linked.tocsr()

    def __call__(self, relation: int, head: np.ndarray, candidate: np.ndarray) -> np.ndarray:
        """Computes the features of pairs from their words.

        Args:
            relation: Number of its text.
            head: ``(num_queries,)``.
            candidate: ``(num_queries, num_candidates)``.

        Returns:
            ``(num_queries, num_candidates, len(WORDS))``.
        """
        to_relation = (self.text @ self.relation[relation].T).toarray()[:, 0]
        of_pairs = [
            self.named[head], self.naming[head], self.text[head] @ self.all_texts,
            self.has[head] @ self.all_names, self.name[head] @ self.all_has, self.linked[head] @ self.all_linked,
        ]  # fmt: skip
        row = np.arange(len(head))[:, None]
        by, names, shared, has, had, linked = (value.toarray()[row, candidate] for value in of_pairs)
        often = self.often[candidate]
        return np.stack([by, names, often, shared, to_relation[candidate], has, had, linked], axis=-1)


def find_names(names: Sequence[str], texts: Sequence[str]) -> sp.csr_matrix:
    """Finds the names of entities in the texts of others; of names that overlap the longest from the left.

    Args:
        names: The entities' names; of a name that several have all are found, if they are no more than 50.
        texts: A text of each.

    Returns:
        1 / (1 + ln(1 + the number of words before)) where row's text first names column, sparse
        ``(num_entities, num_entities)``.
    """
    number_of: dict[tuple[str, ...], list[int]] = {}
    for i, name in enumerate(names):
        number_of.setdefault(_words(name), []).append(i)
    number_of.pop((), None)
    number_of = {name: bearers if len(bearers) <= MAX_BEARERS else [] for name, bearers in number_of.items()}
    first: dict[tuple[int, int], float] = {}
    for i, text in enumerate(texts):
        words, at = _words(text), 0
        while at < len(words):
            length = next((n for n in range(MAX_WORDS, 0, -1) if words[at : at + n] in number_of), 0)
            for entity in number_of[words[at : at + length]] if length else ():
                if entity != i:
                    first.setdefault((i, entity), 1 / (1 + np.log1p(at)))
            at += max(length, 1)
    place = np.array(list(first), dtype=np.int64).reshape(-1, 2)
    value = np.fromiter(first.values(), np.float32, len(first))
    return sp.csr_matrix((value, (place[:, 0], place[:, 1])), shape=(len(names), len(names)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(WORD, text.lower()))
