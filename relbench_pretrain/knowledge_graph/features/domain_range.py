"""Domain and range of a relation, predicted from its text."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

# Found by cross-validation of the predicted ranges over the seen relations of FB15K-237-ZS.
TEMPERATURE, RIDGE, ANY_SIDE = 0.6, 0.3, 0.5
NUM_WORDS = 3  # how many words of a text are its beginning, and its end
KERNELS = ("ends", "whole")
RANGE_VALUES = ("members", "times", "profile", "text", "image")
DOMAIN_VALUES = ("members", "profile")
SIDES = (*(f"range's {v}" for v in RANGE_VALUES), *(f"domain's {v}" for v in DOMAIN_VALUES))
PREDICTED = tuple(f"{value} ({kernel})" for kernel in KERNELS for value in SIDES)
OF_HEAD = tuple(name for name in PREDICTED if name.startswith("domain's"))


def first_words(text: str) -> str:
    """Returns the first three words of a text."""
    return " ".join(text.rstrip(" .").split()[:NUM_WORDS])


def last_words(text: str) -> str:
    """Returns the last three words of a text."""
    return " ".join(text.rstrip(" .").split()[-NUM_WORDS:])


class DomainRangeRegression:
    """Kernel ridge regression from the texts of seen relations to their ranges and domains.

    A relation's range are the entities that are its tails, its domain those that are its heads. A text tends to begin
    with words for the range and to end with words for the domain: "Films directed by a director". So the ranges of some
    relations say something of the domains of others. With k(a, b) = exp((cosine(a, b) − 1) / 0.6),
    two sides of relations (ranges or domains) are compared by one of two kernels: *whole* is k of the whole texts if
    both are ranges or both domains, else 0; *ends* is k of the words at the end in question, times ½ + *whole*.

    Predicted of each entity are weighted sums over the seen sides: whether it belongs to them (*members*) and how
    often, ln(1 + times) over the largest of the side (*times*); and its cosine with the weighted sum of their mean
    vectors by profile, text and image.

    Args:
        counts: Edges that arrive at each entity under each directed relation ``(num_entities, 2 * num_relations)``.
        kinds: The same, 1 for any.
        profile: The relations of each entity, weighted by their rarity, by which entities are compared.
        views: Vectors of the entities' texts and images, each ``(num_entities, width)``.
        text: Vectors of the relations' texts, perhaps with new ones after them ``(num_texts, text_width)``.
        ends: The same of the words that name the range, and of those that name the domain
            ``(2, num_texts, text_width)``.
    """

    def __init__(
        self,
        counts: sp.csr_matrix,
        kinds: sp.csr_matrix,
        profile: sp.csr_matrix,
        views: tuple[np.ndarray, np.ndarray],
        text: np.ndarray,
        ends: np.ndarray,
    ) -> None:
        self.text, self.ends = text, ends
        self.size = counts.shape[1]
        self.kinds = kinds
        most = np.log1p(np.maximum(counts.max(0).toarray().ravel(), 1))
        self.times = (counts.log1p() @ sp.diags(1 / most)).astype(np.float32).tocsr()
        self.profile, self.square, self.views = profile, profile.power(2).tocsr(), views
        met = np.asarray(self.kinds.sum(0)).ravel()
        self.usable = met > 0
        self.members = (self.kinds @ sp.diags(1 / np.maximum(met, 1))).tocsc().astype(np.float32)
        self.centers = [_normalized(np.asarray(self.members.T @ vectors).T) for vectors in views]
        self.center = np.asarray((profile.T @ self.members).todense(), dtype=np.float32)
        np.fill_diagonal(self.center, 0)  # all members of a range are tails of it
        half = self.size // 2
        whole, ends = text[:half], ends[:, :half].reshape(self.size, -1)
        self.kernels = self._kernels(np.tile(whole @ whole.T, (2, 2)), ends @ ends.T, np.arange(self.size) < half)

    def _kernels(self, whole: np.ndarray, ends: np.ndarray, forward: np.ndarray) -> list[np.ndarray]:
        """Compares some sides of relations, forward or not, with all sides, for both kernels."""
        same = forward[:, None] == (np.arange(self.size) < self.size // 2)
        by_whole = same * np.exp((whole - 1) / TEMPERATURE)
        return [np.exp((ends - 1) / TEMPERATURE) * (ANY_SIDE + by_whole), by_whole]

    def weights(self, relation: int) -> np.ndarray:
        """Returns the weight of each seen relation's side in the prediction, 0 for the sides of the relation itself.

        Args:
            relation: Number of its text.

        Returns:
            For both kernels, range and domain ``(2, 2, 2 * num_relations)``.
        """
        half = self.size // 2
        known = np.flatnonzero(self.usable & (np.arange(self.size) % half != relation))
        whole = np.tile(self.text[:half] @ self.text[relation], (2, 2))
        asked = self.ends[:, relation] @ self.ends[:, :half].reshape(self.size, -1).T
        result = np.zeros((len(KERNELS), 2, self.size), np.float32)
        for i, (kernel, to) in enumerate(
            zip(self.kernels, self._kernels(whole, asked, np.array([True, False])), strict=True)
        ):
            ridge = kernel[np.ix_(known, known)] + RIDGE * np.eye(len(known))
            result[i][:, known] = np.linalg.solve(ridge, to[:, known].T).T
        return result

    def __call__(self, relation: int, mask: np.ndarray) -> np.ndarray:
        """Predicts how well all entities fit the range and the domain of a relation.

        Args:
            relation: Number of its text.
            mask: 0 for directed relations that must not be known, else 1 ``(2 * num_relations,)``.

        Returns:
            ``(num_entities, len(PREDICTED))``.
        """
        weight = self.weights(relation)  # (2, 2, size)
        flat = weight.reshape(-1, self.size).T
        center = _normalized(self.center * mask[:, None]) @ flat
        length = np.sqrt(np.maximum(self.square @ mask, 1e-3))[:, None]
        profile = (self.profile @ (center * mask[:, None])) / length / (np.linalg.norm(center, axis=0) + 1e-6)
        members = self.kinds @ flat
        ranges = flat[:, ::2]
        times = self.times @ ranges
        seen = [view @ _normalized(center @ ranges) for view, center in zip(self.views, self.centers, strict=True)]
        values = []
        for i in range(len(KERNELS)):
            columns = members[:, 2 * i], times[:, i], profile[:, 2 * i], *(near[:, i] for near in seen)
            values += [*columns, members[:, 2 * i + 1], profile[:, 2 * i + 1]]
        return np.stack(values, axis=1).astype(np.float32)


def _normalized(columns: np.ndarray) -> np.ndarray:
    return columns / (np.linalg.norm(columns, axis=0) + 1e-6)
