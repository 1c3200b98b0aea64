"""Tables side by side, and their similarities."""

import torch

from relbench_pretrain.contrastive import blocks
from relbench_pretrain.contrastive.blocks import pack, pad_stack, similarity, similarity_chunks


def test_small_tables_share_a_block():
    sizes = {"a": 3, "b": 257, "c": 0, "d": 256, "e": 1000, "f": 128, "g": 129}
    assert list(blocks.blocks(sizes)) == [["a", "f"], ["d", "g"], ["b"], ["e"]]
    assert list(blocks.blocks({"a": 0})) == []


def test_padding():
    one, two = torch.ones(2, 3), torch.ones(1, 3)
    assert pad_stack([one, two]).tolist() == [[[1] * 3] * 2, [[1] * 3, [0] * 3]]
    assert pad_stack([torch.tensor([5]), torch.tensor([6, 7])], value=-1).tolist() == [[5, -1], [6, 7]]
    side = pack([one, two], [torch.tensor([4, -1]), torch.tensor([0])], [torch.tensor([8, 9]), torch.tensor([8])])
    assert side.valid.tolist() == [[True, False], [True, False]]
    assert [label.tolist() for label in side.labels] == [[[4, -1], [0, -1]], [[8, 9], [8, 0]]]


def test_similarities_are_exact_under_autocast():
    """A dot product of 257 is 256 in bfloat16."""
    x = torch.ones(1, 2, 257)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert similarity(x, x, 1.0).tolist() == [[[257] * 2] * 2]
        assert similarity(x.bfloat16(), x.bfloat16(), 1.0).tolist() == [[[257] * 2] * 2]
        assert similarity(x.bfloat16(), x, 2.0).tolist() == [[[128.5] * 2] * 2]


def test_chunks_are_bounded_and_cover_all_anchors(monkeypatch):
    monkeypatch.setattr(blocks, "CHUNK_SIMILARITIES", 45)
    side = pack([torch.randn(n, 4) for n in (7, 5)], [torch.arange(7), torch.arange(5)])
    chunks = list(similarity_chunks(side, side, 1.0))
    assert [similar.shape for _, similar, _ in chunks] == [(2, 3, 7), (2, 3, 7), (2, 1, 7)]
    assert [(rows.start, rows.stop) for rows, _, _ in chunks] == [(0, 3), (3, 6), (6, 9)]
    whole = side.rows @ side.rows.mT
    torch.testing.assert_close(torch.cat([similar for _, similar, _ in chunks], 1), whole)
    is_negative = torch.cat([mask for _, _, mask in chunks], 1)
    expected = ~torch.eye(7, dtype=torch.bool).expand(2, 7, 7).clone()
    expected[1, 5:] = expected[1, :, 5:] = False
    assert torch.equal(is_negative, expected)
