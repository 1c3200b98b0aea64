"""The masked multimodal autoencoder, against one that goes through things one at a time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from relbench_pretrain.knowledge_graph.mre.learner import EntityTable
from relbench_pretrain.knowledge_graph.mre.m3ae import M3AE, Concatenation, Gate, LateFusion, symmetric_infonce
from relbench_pretrain.knowledge_graph.mre.modalities import ModalityInput, ModalitySpec, sine_positions

SPECS = {"image": ModalitySpec("image", 16), "text": ModalitySpec("words", 12, 30)}


def tiny(**options) -> M3AE:
    learner = M3AE(16, 2, 2, 8, 1, 2, patch=4, **options)
    learner.build(SPECS, 5)
    return learner


def inputs(n: int = 5) -> dict[str, ModalityInput]:
    words = torch.randint(1, 30, (n, 9))
    words[0, 4:] = 0
    words[2, 1:] = 0
    words[3] = 0
    has_image = torch.tensor([True, False, True, True, True])[:n]
    return {
        "image": ModalityInput(torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8), has_image),
        "text": ModalityInput(words, words[:, 0] > 0),
    }


def one_by_one(learner: M3AE, batch: dict[str, ModalityInput]):
    """Tokens, losses and vectors of each thing on its own: nothing is padded, and masks are given."""
    kept = {}
    original = learner._mask

    def record(occupied, generator):
        kept[len(kept)] = original(occupied, generator)
        return kept[len(kept) - 1]

    learner._mask = record  # type: ignore[method-assign]
    losses = learner.losses(batch, torch.Generator().manual_seed(1))
    learner._mask = original  # type: ignore[method-assign]
    sums = {name: [0.0, 0] for name in batch}
    means = []
    for i in range(len(batch["image"].values)):
        tokens, owner = [learner.cls.view(1, 1, -1)], []
        for j, (name, (values, present)) in enumerate(batch.items()):
            modality, visible = learner.modalities[name], kept[j]
            every = modality.tokens(modality.cut(values[i : i + 1]))
            if not present[i]:
                tokens.append(modality.missing.view(1, 1, -1))
                owner.append((name, None))
            for place in visible.index[i][visible.filled[i]].tolist():
                tokens.append(every[:, place : place + 1])
                owner.append((name, place))
        encoded = learner.encoder(torch.cat(tokens, dim=1))
        full, target = [learner.to_decoder(encoded[:, :1])], []
        for j, (name, (values, present)) in enumerate(batch.items()):
            modality = learner.modalities[name]
            for place in range(modality.cut(values).size(1)):
                if (name, place) in owner:
                    token = learner.to_decoder(encoded[:, 1 + owner.index((name, place))])
                elif present[i] and kept[j].masked[i, place]:
                    token = learner.mask.unsqueeze(0)
                    target.append((name, place, len(full)))
                else:
                    continue
                full.append((token + modality.decoder_position[place] + modality.decoder_kind).unsqueeze(1))
        decoded = learner.decoder(torch.cat(full, dim=1))
        for name, place, row in target:
            modality = learner.modalities[name]
            piece = modality.cut(batch[name].values[i : i + 1])[:, place : place + 1]
            sums[name][0] += modality.loss(decoded[:, row : row + 1], piece).item()
            sums[name][1] += 1
        both = all(part.present[i] for part in batch.values())
        if both:
            means.append([encoded[0, [1 + k for k, (n, _) in enumerate(owner) if n == name]].mean(0) for name in batch])
    result = {name: total / number for name, (total, number) in sums.items()}
    image, text = (F.normalize(torch.stack(part), dim=1) for part in zip(*means, strict=True))
    score = image @ text.T / learner.temperature
    right = torch.arange(len(score))
    result["contrast"] = ((F.cross_entropy(score, right) + F.cross_entropy(score.T, right)) / 2).item()
    return losses, result


def test_losses_are_those_of_things_on_their_own():
    losses, slow = one_by_one(tiny().eval(), inputs())
    assert set(losses) == {"image", "text", "contrast"}
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(slow, rel=1e-4)


def test_a_quarter_stays_visible_and_no_masked_value_reaches_the_encoder():
    learner, batch = tiny().eval(), inputs()
    occupied = learner.modalities["image"].occupied(torch.zeros(5, 16, 48), batch["image"].present)
    visible = learner._mask(occupied, torch.Generator().manual_seed(0))
    assert visible.filled.sum(1).tolist() == [4, 0, 4, 4, 4]
    assert visible.masked.sum(1).tolist() == [12, 0, 12, 12, 12]
    chosen = torch.zeros(5, 16, dtype=torch.bool).scatter(1, visible.index, visible.filled)
    assert not (chosen & visible.masked).any()
    values = torch.randn(5, 3, 16, 16, requires_grad=True)
    kept = learner.modalities["image"].tokens(learner.modalities["image"].cut(values), visible.index)
    kept[visible.filled].sum().backward()
    seen = learner.modalities["image"].cut(values.grad).abs().sum(2) > 0
    assert (seen == chosen).all()


def test_another_draw_masks_others_and_the_same_draw_the_same():
    learner, batch = tiny().eval(), inputs()
    first, same, other = (learner.losses(batch, torch.Generator().manual_seed(s))["image"] for s in (0, 0, 1))
    assert first == same != other


def test_vectors_do_not_depend_on_the_batch_nor_on_what_fills_up_short_texts():
    learner, batch = tiny().eval(), inputs()
    together = learner.encode(batch, len(batch["image"].values))
    for i in range(5):
        alone = {name: ModalityInput(part.values[i : i + 1], part.present[i : i + 1]) for name, part in batch.items()}
        alone["text"] = ModalityInput(
            alone["text"].values[:, : max(1, int((alone["text"].values > 0).sum()))], batch["text"].present[i : i + 1]
        )
        torch.testing.assert_close(learner.encode(alone, 1)[0], together[i], atol=1e-5, rtol=1e-4)


def test_a_missing_image_is_marked_by_a_learned_token_and_not_by_its_values():
    learner, batch = tiny().eval(), inputs()
    before = learner.encode(batch, len(batch["image"].values))
    changed = batch["image"].values.clone()
    changed[1] = 77
    torch.testing.assert_close(learner.encode(batch | {"image": batch["image"]._replace(values=changed)}, 5), before)
    with torch.no_grad():
        learner.modalities["image"].missing += torch.randn(16)
    after = learner.encode(batch, len(batch["image"].values))
    assert not torch.allclose(after[1], before[1])
    torch.testing.assert_close(after[0], before[0])


def test_without_readings_all_things_are_alike():
    learner = tiny().eval()
    found = learner.encode_entities(torch.arange(3), {})
    torch.testing.assert_close(found, found[:1].expand(3, -1))
    assert learner.losses({}) == {}


def test_infonce_among_valid_rows_alone():
    first, second = torch.randn(2, 6, 4)
    valid = torch.tensor([True, True, False, True, False, True])
    found = symmetric_infonce(first, second, valid, 0.5)
    a, b = F.normalize(first[valid], dim=1), F.normalize(second[valid], dim=1)
    score, right = a @ b.T / 0.5, torch.arange(4)
    torch.testing.assert_close(found, (F.cross_entropy(score, right) + F.cross_entropy(score.T, right)) / 2)
    assert symmetric_infonce(first, second, torch.zeros(6, dtype=torch.bool), 0.5) == 0


def test_positions_are_sines_and_cosines_of_each_axis():
    found = sine_positions(torch.tensor([[0, 0], [2, 3]]), 8)
    assert found.shape == (2, 8)
    assert found[0].tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    rate = torch.tensor([1.0, 0.01])
    torch.testing.assert_close(found[1], torch.cat([f(a * rate) for a in (2.0, 3.0) for f in (torch.sin, torch.cos)]))


def test_vectors_stand_in_for_images_and_texts():
    learner = M3AE(16, 1, 2, 8, 1, 2, vector_pieces=4)
    learner.build({"image": ModalitySpec("vector", 10), "text": ModalitySpec("vector", 6)}, 3)
    batch = {
        name: ModalityInput(torch.randn(3, size), torch.ones(3, dtype=torch.bool))
        for name, size in (("image", 10), ("text", 6))
    }
    sum(learner.losses(batch).values()).backward()
    assert learner.encode(batch, len(batch["image"].values)).shape == (3, 16)
    assert learner.modalities["image"].cut(batch["image"].values).shape == (3, 4, 3)
    assert learner.relation_width == 6
    torch.testing.assert_close(learner.encode_relations({"text": batch["text"]}), batch["text"].values * 6**0.5)


def test_late_fusion_takes_vectors_of_relations_as_they_are():
    learner = LateFusion(M3AE(16, 1, 2, 8, 1, 2, patch=4), M3AE(16, 1, 2, 8, 1, 2), Gate())
    learner.build(SPECS | {"text": ModalitySpec("vector", 6)}, 5)
    batch = {"text": ModalityInput(torch.randn(5, 6), torch.ones(5, dtype=torch.bool))}
    assert learner.relation_width == learner.encode_relations(batch).size(1) == 6


@pytest.mark.parametrize("fuse", [Concatenation(), Gate()])
def test_late_fusion_gives_vectors_of_entities_and_relations(fuse):
    learner = LateFusion(M3AE(16, 1, 2, 8, 1, 2, patch=4), M3AE(16, 1, 2, 8, 1, 2), fuse)
    learner.build(SPECS, 5)
    batch = inputs()
    assert learner.encode_entities(torch.arange(5), batch).shape == (5, 16)
    assert learner.encode_relations({"text": batch["text"]}).shape == (5, 16)
    losses = learner.losses(batch)
    sum(losses.values()).backward()
    assert set(losses) == {"image", "text", "contrast"}
    with pytest.raises(ValueError, match="16 wide and text 32"):
        LateFusion(M3AE(16, 1, 2), M3AE(32, 1, 2), Gate())


def test_a_table_of_entities_takes_relations_as_they_are():
    table = EntityTable(7)
    table.build({"text": ModalitySpec("vector", 4)}, 5)
    assert table.encode_entities(torch.tensor([1, 4]), {}).shape == (2, 7)
    vectors = torch.randn(2, 4)
    batch = {"text": ModalityInput(vectors, torch.ones(2, dtype=torch.bool))}
    torch.testing.assert_close(table.encode_relations(batch), vectors * 2)
    with pytest.raises(ValueError, match="data.training.tokenizer"):
        EntityTable().build(SPECS, 5)


def test_what_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="divisor of 16"):
        M3AE(16, 1, 2, patch=5).build(SPECS, 5)
    with pytest.raises(ValueError, match="3 heads"):
        M3AE(16, 1, 3)
    with pytest.raises(ValueError, match="mask_ratio"):
        M3AE(mask_ratio=1.0)
