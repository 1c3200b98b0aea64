"""What holds for the objectives of all levels."""

import math

import pytest
import torch

from relbench_pretrain.contrastive import ContextContrast, LinkContrast, RowContrast
from relbench_pretrain.relational.schema import GraphSchema, TableSchema

LEVELS = {"row": RowContrast, "link": LinkContrast, "context": ContextContrast}
SIZES = {"items": 6, "people": 7, "orders": 9, "keys": 3, "lonely": 4}

pytestmark = pytest.mark.parametrize("level", LEVELS)


def build(level, schema, channels=4, **settings):
    torch.manual_seed(0)
    objective = LEVELS[level](**settings)
    objective.build(schema, channels)
    return objective


def test_parameters_come_with_build_and_only_once(level, schema):
    objective = LEVELS[level]()
    assert not list(objective.parameters())
    objective.build(schema, 4)
    before = {name: (id(p), p.clone()) for name, p in objective.named_parameters()}
    objective.build(schema, 4)
    assert {name: id(p) for name, p in objective.named_parameters()} == {n: i for n, (i, _) in before.items()}
    assert all(torch.equal(p, before[name][1]) for name, p in objective.named_parameters())
    again = LEVELS[level]()
    again.build(schema, 4)
    again.load_state_dict(objective.state_dict())
    for channels, tables in ((5, schema), (4, GraphSchema({"other": TableSchema({})}))):
        with pytest.raises(ValueError, match="was built for 4 channels"):
            objective.build(tables, channels)


def test_forward_before_build(level, make_case):
    with pytest.raises(RuntimeError, match="build"):
        LEVELS[level]()(*make_case(SIZES).arguments(level))


def test_settings_that_make_no_sense(level):
    for temperature in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            LEVELS[level](temperature=temperature)
    with pytest.raises(ValueError, match="max_negatives is 0"):
        LEVELS[level](max_negatives=0)


def test_an_empty_batch_has_a_gradient_path(level, schema, make_case):
    objective = build(level, schema)
    for case in (make_case({}, dtype=torch.float32), make_case(dict.fromkeys(SIZES, 1), dtype=torch.float32)):
        objective.zero_grad()
        losses = objective(*case.arguments(level))
        assert losses.sum == 0
        assert losses.count == 0
        assert losses.normalized_sum == 0
        losses.normalized_sum.backward()
        assert all(parameter.grad.eq(0).all() for parameter in objective.parameters())
    losses = objective(*[{}] * (4 if level == "link" else 3))
    losses.sum.backward()


def test_every_parameter_has_a_gradient_whatever_the_batch(level, schema, make_case):
    """Data parallel training waits for the gradients of all parameters."""
    objective = build(level, schema)
    for sizes in ({"items": 3, "lonely": 2}, {"orders": 4, "people": 300}, {"keys": 1}):
        objective.zero_grad()
        objective(*make_case(sizes, dtype=torch.float32).arguments(level)).sum.backward()
        assert all(parameter.grad is not None for parameter in objective.parameters())


def test_nothing_is_read_from_the_device(level, schema, make_case):
    """Tensors without data cannot be read: a step that runs on them never waits for a device, and stays on it."""
    objective = build(level, schema).to("meta")
    for sizes, limit in ((SIZES, 255), (SIZES, 2), (dict.fromkeys(SIZES, 300), 20)):
        objective.max_negatives = limit
        arguments = make_case(sizes, dtype=torch.float32).arguments(level)
        bare = [
            {k: v.detach().to("meta").requires_grad_(v.requires_grad) for k, v in values.items()}
            for values in arguments
        ]
        losses = objective(*bare)
        assert losses.loss.is_meta
        assert losses.num_negatives.is_meta
        losses.normalized_sum.backward()
        assert all(parameter.grad.is_meta for parameter in objective.parameters())


@pytest.mark.parametrize("large", [False, True])
def test_autocast_changes_little_and_losses_stay_float32(level, schema, make_case, large, request):
    if large:
        request.getfixturevalue("one_by_one")
    objective, case = build(level, schema), make_case(SIZES, dtype=torch.float32)
    expected = objective(*case.arguments(level))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = objective(*case.arguments(level))
        halves = [
            {k: v.bfloat16() if v.is_floating_point() else v for k, v in a.items()} for a in case.arguments(level)
        ]
        assert objective(*halves).loss.dtype == torch.float32
    assert losses.loss.dtype == torch.float32
    torch.testing.assert_close(losses.loss, expected.loss, atol=0.05, rtol=0.05)
    assert not torch.equal(losses.loss, expected.loss)  # the projections are in half precision
    losses.normalized_sum.backward()
    assert all(parameter.grad.isfinite().all() for parameter in objective.parameters())


@pytest.mark.parametrize("temperature", [1e-3, 1e3])
def test_temperature(level, schema, make_case, temperature):
    """The temperature divides the similarities; a high one leaves nothing but chance, a low one stays finite."""
    case = make_case(SIZES, dtype=torch.float32)
    objective = build(level, schema, temperature=temperature)
    losses = objective(*case.arguments(level))
    if temperature > 1:
        assert (losses.normalized_sum / losses.count).item() == pytest.approx(1.0, abs=0.01)
    with torch.no_grad():
        for vector in case.vectors:
            vector *= 100
    losses = objective(*case.arguments(level))
    losses.normalized_sum.backward()
    assert losses.loss.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in objective.parameters())


def test_sampling_follows_the_generator(level, schema, make_case):
    case = make_case({"items": 30, "people": 40, "orders": 60}, dtype=torch.float32)
    objective = build(level, schema, max_negatives=8)
    draws = [objective(*case.arguments(level), generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0].loss, draws[1].loss)
    assert not torch.equal(draws[0].loss, draws[2].loss)
    assert draws[0].num_negatives.max() == 8
