"""The words of the demo shop: names, titles, tags, notes and reviews.

Strings are put together by Arrow from short vocabularies, never one by one in Python, so that millions
of rows take seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

DEPARTMENTS = ["Home", "Garden", "Kitchen", "Sports", "Books", "Electronics"]
CATEGORIES = [
    ["Lamps", "Chairs", "Carpets", "Shelves"],
    ["Seeds", "Tools", "Fences", "Pots", "Hoses"],
    ["Knives", "Pans", "Kettles"],
    ["Running", "Climbing", "Cycling", "Swimming"],
    ["Novels", "Travel Guides", "Cookbooks"],
    ["Speakers", "Cameras", "Chargers", "Keyboards", "Monitors"],
]
CITIES = [
    *("Lyon", "Porto", "Gdansk", "Graz", "Ghent", "Malmo", "Turku", "Brno", "Bari", "Cork"),
    *("Leeds", "Basel", "Split", "Varna", "Patras", "Tartu", "Kaunas", "Kosice", "Aarhus", "Bergen"),
]
BRANDS = ["Alder", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Juniper", "Larch", "Maple", "Rowan", "Yew"]
COUNTRIES = ["DE", "FR", "IT", "ES", "PL", "NL", "SE", "PT", "CZ", "GR"]
CHANNELS = ["search", "advertisement", "shop", "fair", "friend"]
PAYMENTS = ["card", "transfer", "invoice", "wallet", "voucher"]
DEVICES = ["phone", "laptop", "tablet"]
SOURCES = ["newsletter", "search", "advertisement", "direct", "forum"]

ADJECTIVES = ["Light", "Sturdy", "Compact", "Classic", "Foldable", "Quiet", "Bright", "Handy", "Modern"]
MATERIALS = ["Oak", "Steel", "Linen", "Copper", "Bamboo", "Glass", "Wool", "Cork"]
SHARED_TAGS = ["sale", "new", "organic", "gift", "limited", "imported", "repairable", "vegan"]
TAGS = [
    ["cosy", "bedroom", "hallway"],
    ["balcony", "perennial", "outdoor"],
    ["dishwasher-safe", "induction", "baking"],
    ["waterproof", "training", "racing"],
    ["illustrated", "paperback", "signed"],
    ["wireless", "usb-c", "rechargeable"],
]

VERDICTS = [
    ["Broke at once", "A waste of money", "Would return it if I could", "Never again"],
    ["Disappointing", "Not what the picture shows", "Below what I hoped for", "Weak"],
    ["Does the job", "It is all right", "Neither good nor bad", "Average"],
    ["Good quality", "Well made", "Happy with it", "Solid"],
    ["Excellent", "Could not be better", "My favourite by far", "Perfect in every way"],
]
PLACES = ["at home", "in the garden", "in the kitchen", "on the road", "in the evenings", "at my desk"]
ASIDES = ["Delivery was as usual.", "The box was large.", "My sister has one too.", "Ordered on a whim.", ""]
WISHES = ["Happy birthday", "Congratulations", "Thank you", "Get well soon", "Welcome home", "Good luck"]
NAMES = ["Ada", "Ben", "Chloe", "Dario", "Eva", "Finn", "Greta", "Hugo", "Ines", "Jonas", "Karin", "Luca"]
GREETINGS = ["from all of us", "with love", "see you soon", "from your neighbours", "from the whole team"]


def pick(words: Sequence[str], codes: np.ndarray, mask: np.ndarray | None = None) -> pa.Array:
    """Looks words up by number ``(num_rows,)``, null where ``mask`` is true."""
    return pa.array(list(words), pa.string()).take(pa.array(codes, mask=mask))


def choose(
    words: Sequence[str], count: int, rng: np.random.Generator, missing: float = 0.0, skew: float = 0.3
) -> pa.Array:
    """Draws words, the first ones more often by a power law.

    Args:
        words: The vocabulary.
        count: How many to draw.
        rng: Where the randomness comes from.
        missing: The share of nulls.
        skew: The exponent; 0 draws uniformly.

    Returns:
        Strings ``(count,)``.
    """
    weights = np.arange(1, len(words) + 1) ** -skew
    codes = rng.choice(len(words), count, p=weights / weights.sum())
    return pick(words, codes, rng.random(count) < missing)


def product_titles(category: np.ndarray, rng: np.random.Generator) -> pa.Array:
    """Titles such as "Sturdy Oak Lamps L-204", by number among all categories ``(num_products,)``."""
    count = len(category)
    nouns = [name for group in CATEGORIES for name in group]
    return _join(
        choose(ADJECTIVES, count, rng),
        choose(MATERIALS, count, rng),
        pick(nouns, category),
        pick([f"L-{number}" for number in range(100, 1000)], rng.integers(0, 900, count)),
    )


def product_tags(department: np.ndarray, rng: np.random.Generator, missing: float) -> pa.Array:
    """Lists of distinct tags ``(num_products,)``: some of the department, some that any product may have."""
    words = SHARED_TAGS + [tag for group in TAGS for tag in group]
    owner = np.repeat(np.arange(len(TAGS)), [len(group) for group in TAGS])
    own = np.where(department[:, None] == owner, 0.5, 0.0)
    shared = np.full((len(department), len(SHARED_TAGS)), 0.12)
    tagged = rng.random((len(department), len(words))) < np.hstack([shared, own])  # (num_products, num_tags)
    absent = rng.random(len(department)) < missing
    tagged[absent] = False
    offsets = np.concatenate([[0], np.cumsum(tagged.sum(axis=1))]).astype(np.int32)
    values = pick(words, np.nonzero(tagged)[1])
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(absent))


def review_texts(rating: np.ndarray, department: np.ndarray, rng: np.random.Generator) -> pa.Array:
    """Reviews in the tone of the rating (1 to 5) and about the department, both ``(num_reviews,)``."""
    count, variants = len(rating), len(VERDICTS[0])
    verdicts = [f"{verdict}," for group in VERDICTS for verdict in group]
    return _join(
        pick(verdicts, (rating - 1) * variants + rng.integers(0, variants, count)),
        pick([f"as {name.lower()} things go." for name in DEPARTMENTS], department),
        pick([f"Used it for {days} days" for days in range(1, 90)], rng.integers(0, 89, count)),
        pick([f"{place}." for place in PLACES], rng.integers(0, len(PLACES), count)),
        choose(ASIDES, count, rng),
    )


def gift_notes(count: int, rng: np.random.Generator, missing: float) -> pa.Array:
    """Short notes ``(count,)``, most orders having none."""
    absent = rng.random(count) < missing
    return _join(
        pick([f"{wish}," for wish in WISHES], rng.integers(0, len(WISHES), count), absent),
        choose(NAMES, count, rng),
        pick([f"({age})" for age in range(1, 100)], rng.integers(0, 99, count)),
        choose(GREETINGS, count, rng),
    )


def _join(*parts: pa.Array) -> pa.Array:
    return pc.utf8_trim(pc.binary_join_element_wise(*parts, " "), characters=" ")
