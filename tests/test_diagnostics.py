"""Each term's share of the gradient norm: what it is, that it changes nothing, and that it reaches the provenance."""

import itertools

import pytest
import torch
from accelerate import Accelerator
from command_line import caller
from small_sweeps import planned, request, swept, write_data
from training import corpus, on_tiny, one_thread, recipe, same_bits

import mipic_bench as mb
from mipic_bench import backbones
from mipic_bench.recipes.methods import catalog
from mipic_bench.results import folder as results
from mipic_bench.training import trainer
from mipic_bench.training.batches import Batches


def trained(method, diagnostics, **settings):
    backbone = backbones.load("tiny")
    resolved = on_tiny(catalog()[method], max_steps=5, **settings)
    with one_thread():
        machine = Accelerator(cpu=True)
        history = trainer.train(backbone, resolved, corpus(), 0, machine, log_every=2, diagnostics=diagnostics)
    return backbone.state_dict(), history.entries, resolved


@pytest.mark.parametrize("method", ["mipic", "ese", "sdr-mrl", "2d-mrl-st", "pivot"])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_it_changes_no_bit_of_the_training(method, accumulation):
    plain, without, _ = trained(method, False, accumulation=accumulation)
    watched, entries, resolved = trained(method, True, accumulation=accumulation)
    assert same_bits(plain, watched)
    assert [{key: value for key, value in entry.items() if key != "shares"} for entry in entries] == without
    assert not any("shares" in entry for entry in without)
    assert [entry["step"] for entry in entries] == [1, 2, 4, 5]
    for entry in entries:
        assert entry["shares"].keys() == resolved.terms.keys()
        assert all(share >= 0 for share in entry["shares"].values())
        assert sum(entry["shares"].values()) == pytest.approx(1)


def test_a_term_that_is_a_constant_pulls_at_nothing(tmp_path):
    resolved = on_tiny(catalog()["mipic"].set("terms.chain.chain", [[64, 4]]))
    history = trainer.train(backbones.load("tiny"), resolved, corpus(), 0, Accelerator(cpu=True), diagnostics=True)
    assert {entry["shares"]["chain"] for entry in history.entries} == {0.0}


def test_it_is_the_norm_that_each_term_alone_would_leave_behind():
    backbone = backbones.load("tiny")
    resolved = on_tiny(catalog()["mipic"])
    objective = trainer.Objective(backbone, resolved, 0)
    batch = next(iter(Batches(backbone, corpus(), resolved.training, 0).epoch(0)))

    def values():
        torch.manual_seed(0)
        return objective.train()(batch)

    found = trainer.gradient_norms(values(), resolved.terms, list(backbone.parameters()))
    assert all(weight.grad is None for weight in backbone.parameters())
    assert len(found) == 4
    for name, norm in found.items():
        objective.zero_grad()
        (resolved.terms[name].weight * values()[name]).backward()
        squares = [weight.grad.double().square().sum() for weight in backbone.parameters() if weight.grad is not None]
        assert norm == pytest.approx(float(sum(squares)) ** 0.5, rel=1e-5)


def test_norms_of_the_batches_of_a_step_are_summed(monkeypatch):
    norms = itertools.cycle([{"mrl": 1.0, "chain": 2.0}, {"mrl": 5.0, "chain": 0.0}])
    monkeypatch.setattr(trainer, "gradient_norms", lambda *_: next(norms))
    terms = {"mrl": {"term": "nested_info_nce"}, "chain": {"term": "chain_info_nce"}}
    resolved = on_tiny(recipe(terms), max_steps=1, accumulation=2)
    with one_thread():
        history = trainer.train(backbones.load("tiny"), resolved, corpus(), 0, Accelerator(cpu=True), diagnostics=True)
    assert history.entries[0]["shares"] == {"mrl": 0.75, "chain": 0.25}


def test_it_reaches_the_provenance_and_is_no_part_of_the_key(tmp_path):
    write_data(tmp_path / "data")
    asked = request(tmp_path, methods=("mipic",), diagnostics=True)
    assert swept(asked).exit_code == 0
    [record] = results.read(asked.results).provenance().values()
    shares = [entry["shares"] for entry in record["training"]["history"]]
    assert all(set(share) == {"mrl", "attention", "cka", "chain"} for share in shares), shares
    for diagnostics in (False, True):
        [cell] = planned(request(tmp_path, methods=("mipic",), diagnostics=diagnostics))
        assert (cell.status, cell.key) == ("done", record["key"])


def test_the_command_line_and_python_take_it(tmp_path, capsys, monkeypatch):
    call = caller(capsys, monkeypatch)
    write_data(tmp_path / "data")
    options = ("--backbone=tiny", "--corpus=pairs", "--task=likeness", f"--data={tmp_path / 'data'}", "--max-steps=2")
    for results_folder, more in (("plain", ()), ("watched", ("--diagnostics",))):
        answer = call("run", "--method=mrl", *options, f"--results={tmp_path / results_folder}", *more)
        assert answer.code == 0, answer.err
    plain, watched = (results.read_rows(tmp_path / name) for name in ("plain", "watched"))
    assert plain.equals(watched)
    mb.run("mrl", backbone="tiny", corpus="pairs", tasks="likeness", data=tmp_path / "data", max_steps=2,
           diagnostics=True, results=tmp_path / "python")  # fmt: skip
    for name, there in (("plain", False), ("watched", True), ("python", True)):
        [record] = results.read(tmp_path / name).provenance().values()
        assert all(("shares" in entry) == there for entry in record["training"]["history"])
