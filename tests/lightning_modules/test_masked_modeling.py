"""Masked modelling: its loss, its conditionals, and a run from the command line to the recovered hypergraph."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from transformers import BertModel

from callbacks import Recovery
from datamodules import HypergraphDataModule
from lightning_modules import MaskedModeling
from relbench_pretrain import from_pretrained
from relbench_pretrain.cli import main
from relbench_pretrain.hypergraph import (
    ConnectedRandomGraph,
    EveryNode,
    HypergraphError,
    IndependentSampling,
    NodeBert,
    OneNode,
    RandomHypergraph,
    SeveralNodes,
    Star,
    WholeHyperedge,
)
from relbench_pretrain.hypergraph.conversion import read_hypergraph
from relbench_pretrain.hypergraph.corpus.batches import Specials, masked_batch
from relbench_pretrain.hypergraph.corpus.corpus import Corpus
from relbench_pretrain.pretrained import CheckpointError

TINY = {"num_layers": 1, "width": 16, "num_heads": 2, "intermediate": 32, "dropout": 0.0}


def model_for(graph, **settings) -> MaskedModeling:
    model = MaskedModeling(NodeBert(**(TINY | settings)))
    model.nodes, model.length = graph.nodes, graph.largest_arity + 2
    model.padded = bool((graph.arity != graph.largest_arity).any())
    model.configure_model()
    return model


@pytest.mark.parametrize("settings", [{}, {"positions": False}, {"output_width": 24}])
@pytest.mark.parametrize("masking", [OneNode(fixed=True), EveryNode(), SeveralNodes(2), WholeHyperedge()])
def test_loss_is_that_of_one_sequence_after_the_other(masking, settings):
    graph = RandomHypergraph(9, {2: 8, 3: 12}).make()
    model = model_for(graph, **settings)
    rows = Corpus(graph, IndependentSampling(), 60, 0).rows()
    merged, plain = (
        masked_batch(rows, np.arange(60), 9, masking, np.random.default_rng(3), keep_order=True, merge=merge)
        for merge in (True, False)
    )
    losses = []
    for place, node in zip(plain.masked, plain.node, strict=True):
        row, column = plain.row[place], plain.column[place]
        tokens = plain.tokens[row]
        tokens = tokens[tokens != Specials.after(9).pad][None]  # without padding and with no attention mask
        logits = model.network(tokens, torch.tensor([0]), column[None])
        losses.append(-logits.log_softmax(-1)[0, node])
    assert model.loss(merged).item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    assert model.loss(plain).item() == pytest.approx(model.loss(merged).item(), rel=1e-5)


def test_conditionals_are_the_network_s_without_the_context_s_own_nodes():
    graph = RandomHypergraph(9, {2: 8, 3: 12}).make()
    model = model_for(graph)
    pad, cls, sep, mask = Specials.after(9)
    found = model.log_conditionals(np.array([[4, -1], [2, 7]]))
    for row, (tokens, place, own) in enumerate(
        [([cls, 4, mask, sep, pad], 2, [4]), ([cls, 2, 7, mask, sep], 3, [2, 7])]
    ):
        logits = model.network(torch.tensor([tokens]), torch.tensor([0]), torch.tensor([place]))[0].double()
        logits[own] = -math.inf
        assert found[row] == pytest.approx(logits.log_softmax(-1).detach().numpy(), abs=1e-5)
    whole = model.log_conditionals(np.zeros((1, 0), dtype=np.int64), masked=2)[0]
    logits = model.network(torch.tensor([[cls, mask, mask, sep, pad]] * 2), torch.tensor([0, 1]), torch.tensor([1, 2]))
    assert np.exp(whole) == pytest.approx(logits.softmax(-1).mean(0).detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("masking", [OneNode(fixed=True), SeveralNodes(2)])
def test_network_is_hugging_face_s_bert_at_the_masked_places(masking, num_layers):
    graph = RandomHypergraph(9, {2: 8, 3: 12}).make()
    network = model_for(graph, num_layers=num_layers).network
    config = copy.deepcopy(network.encoder.config)
    config.num_hidden_layers = num_layers
    whole = BertModel(config, add_pooling_layer=False).eval()
    whole.embeddings.load_state_dict(network.encoder.embeddings.state_dict())
    for theirs, ours in zip(whole.encoder.layer, [*network.encoder.encoder.layer, network.last], strict=True):
        theirs.load_state_dict(ours.state_dict())
    rows = Corpus(graph, IndependentSampling(), 40, 0).rows()
    batch = masked_batch(rows, np.arange(40), 9, masking, np.random.default_rng(0), keep_order=True)
    mask = (batch.tokens != Specials.after(9).pad).long()
    hidden = whole(input_ids=batch.tokens, attention_mask=mask).last_hidden_state[batch.row, batch.column]
    expected = network.transform(hidden) @ network.encoder.embeddings.word_embeddings.weight[:9].T + network.bias
    assert network(batch.tokens, batch.row, batch.column).detach().numpy() == pytest.approx(
        expected.detach().numpy(), abs=1e-5
    )


def test_bert_base_is_the_published_size():
    network = NodeBert()
    network.build(20, 4)
    layers = [*network.encoder.encoder.layer, network.last]
    assert len(layers) == 12
    # BERT-base has 85 million weights in its layers; the vocabulary here is small
    assert sum(p.numel() for layer in layers for p in layer.parameters()) == 85_054_464
    with pytest.raises(HypergraphError, match="no multiple"):
        NodeBert(width=100, num_heads=12)


ARGS = [
    "fit", "--config=hypergraph/recovery.yaml", "--data.graph.num_nodes=12", "--data.num_samples=20000",
    "--model.network.init_args.width=32", "--model.network.init_args.output_width=32",
    "--trainer.enable_progress_bar=false",
]  # fmt: skip


def test_a_run_recovers_the_graph_and_plots_it(run_in, capsys):
    main([*ARGS, "--test_after_fit=true", "--trainer.max_steps=150", "--trainer.val_check_interval=50",
          "--trainer.callbacks=[{class_path: callbacks.Recovery, init_args: {count_masks: true}}]"])  # fmt: skip
    folder = run_in / "runs/run/version_0"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert metrics["val/error"].notna().sum() == 3
    tested = metrics.filter(like="test/").dropna(how="all").iloc[-1]
    assert tested["test/error_stationary"] < 1.3 * tested["test/error_counting"] < 0.1
    assert tested["test/wrong_edges"] == 0 and tested["test/recall"] == 1
    assert tested["test/counts_least_squares"] == pytest.approx(tested["test/error_counting"], abs=1e-5)
    assert tested["test/expected_counting"] == pytest.approx(tested["test/error_counting"], rel=0.8)
    truth, found = (read_hypergraph(folder / f"{name}.json") for name in ("truth", "recovered"))
    assert np.abs(truth.weights - found.weights).sum() == pytest.approx(tested["test/error_stationary"], abs=1e-5)
    assert (folder / "recovery.png").stat().st_size > 10_000


def test_a_checkpoint_of_other_nodes_is_refused(run_in, capsys):
    main([*ARGS, "--trainer.max_steps=1", "--trainer.val_check_interval=1"])
    checkpoint = next((run_in / "runs/run/version_0/checkpoints").glob("*.ckpt"))
    main(["export", str(checkpoint), "--output_dir=shared"])
    assert from_pretrained("shared").nodes == [str(i) for i in range(12)]
    with pytest.raises(SystemExit):
        main(["test", *ARGS[1:], "--data.graph.num_nodes=13", f"--ckpt_path={checkpoint}"])
    assert "and the data have 13, '0' and so on" in capsys.readouterr().err


def test_two_modalities_have_their_own_names_order_and_samples(tmp_path):
    def made(modality, seed=0):
        data = HypergraphDataModule(ConnectedRandomGraph(10), 5_000, renamed=True, modality=modality, seed=seed)
        data.setup("fit")
        return data

    one, other = made("word"), made("image", seed=1)
    assert one.truth.nodes[3] == "word3" and other.truth.nodes[3] == "image3"
    assert sorted(one.hidden_names) == sorted(other.hidden_names) and one.hidden_names != other.hidden_names
    graph = ConnectedRandomGraph(10).make()
    for data in (one, other):
        place = [graph.nodes.index(name) for name in data.hidden_names]
        for edge, weight in zip(data.truth.edges, data.truth.weights, strict=True):
            assert graph.weights_of(np.array([[place[i] for i in edge]]))[0] == pytest.approx(weight)
    assert not np.array_equal(made("word").rows, made("sound").rows)


def test_parts_of_the_samples_do_not_overlap_and_files_are_shared(tmp_path):
    data = HypergraphDataModule(Star(9), 1_000, masking=OneNode(), batch_size=100, cache_dir=str(tmp_path))
    data.prepare_data()
    data.setup("fit")
    assert isinstance(data.rows, np.memmap)
    sizes = [sum(int(b.times.sum()) for b in loader) for loader in (data.train_dataloader(), data.val_dataloader(),
                                                                    data.test_dataloader())]  # fmt: skip
    assert sizes == [800, 100, 100] and data.num_training == 800
    for loader, part in ((data.val_dataloader(), data.rows[800:900]), (data.test_dataloader(), data.rows[900:])):
        leaves = np.bincount(part.max(1), minlength=9)  # a sample of STAR is known by its leaf
        shown = np.zeros(9)
        for batch in loader:
            for place, node, times in zip(batch.masked, batch.node, batch.times, strict=True):
                shown[max(int(node), int(batch.tokens[batch.row[place], 1:3].min()))] += times
        assert np.array_equal(shown, leaves)
    assert data.specification.counts.weights.sum() == pytest.approx(1)
    first, again = (next(iter(data.val_dataloader())) for _ in range(2))
    assert torch.equal(first.node, again.node)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 5}, "at least 10"),
        ({"held_out": 0.5}, "held_out must be"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"num_samples": 10, "held_out": 0.05}, "is less than one"),
    ],
)
def test_settings_that_make_no_corpus_are_refused(settings, message):
    with pytest.raises(HypergraphError, match=message):
        HypergraphDataModule(Star(5), **settings)


def test_loaders_alone_train_as_the_data_module_does_and_are_recovered_from(tmp_path):
    def trained(alone: bool) -> tuple[dict, dict]:
        torch.manual_seed(0)
        data = HypergraphDataModule(RandomHypergraph(9, {2: 8, 3: 12}), 2_000, batch_size=200)
        module = MaskedModeling(NodeBert(**TINY))
        trainer = Trainer(
            accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False, max_steps=4,
            val_check_interval=4, num_sanity_val_steps=0, enable_checkpointing=False, default_root_dir=tmp_path,
            callbacks=[Recovery(plot=False, count_masks=True)],
        )  # fmt: skip
        if alone:
            data.setup("fit")
            module.specification = data.specification
            trainer.fit(module, data.train_dataloader(), data.val_dataloader())
            tested = trainer.test(module, data.test_dataloader(), verbose=False)[0]
        else:
            trainer.fit(module, data)
            tested = trainer.test(module, data, verbose=False)[0]
        return module.state_dict(), tested

    (weights, tested), (others, expected) = trained(alone=True), trained(alone=False)
    assert all(torch.equal(value, others[name]) for name, value in weights.items())
    assert tested == expected and tested["test/counts_chaining"] > 0


def test_recovery_refuses_what_is_no_masked_model():
    with pytest.raises(HypergraphError, match="Recovery reads a masked model, and LightningModule has no"):
        Recovery().on_test_epoch_end(Trainer(accelerator="cpu", logger=False), LightningModule())


def test_a_checkpoint_that_calls_samples_draws_goes_on_with_as_many_only():
    data = HypergraphDataModule(Star(9), 1_000)
    data.setup("fit")
    stored = data.state_dict()
    stored["data"] = {"draws" if name == "samples" else name: value for name, value in stored["data"].items()}
    data.load_state_dict(stored)
    with pytest.raises(CheckpointError, match="samples: 999, now 1000"):
        data.load_state_dict({"data": stored["data"] | {"draws": 999}})


def test_fresh_samples_train_and_the_held_out_ones_count(run_in):
    main([*ARGS, "--data.fresh=true", "--data.batch_size=4000", "--trainer.max_steps=20",
          "--trainer.val_check_interval=10", "--data.batches_per_epoch=10", "--test_after_fit=true"])  # fmt: skip
    truth = json.loads((run_in / "runs/run/version_0/truth.json").read_text())
    assert len(truth["nodes"]) == 12
