"""Writes small datasets of the user's kind for the tests of tasks and corpora."""

import csv
import json


def write_csv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def write_sts(path, scores):
    return write_csv(path, ["sentence1", "sentence2", "score"], [[f"a {n}", f"b {n}", s] for n, s in enumerate(scores)])


def write_pairs(path, labels, word="a"):
    rows = [[f"{word} {n}", f"b {n}", label] for n, label in enumerate(labels)]
    return write_csv(path, ["sentence1", "sentence2", "label"], rows)


def write_classes(path, labels, word="text"):
    return write_csv(path, ["text", "label"], [[f"{word} {n}", label] for n, label in enumerate(labels)])


def write_objects(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_beir(folder, qrels, queries=3, documents=4):
    """Write a BEIR folder; qrels: split -> rows of (query id, document id, relevance)."""
    docs = [{"_id": f"d{n}", "title": f"Title {n}", "text": f"document {n}"} for n in range(documents)]
    write_objects(folder / "corpus.jsonl", docs)
    write_objects(folder / "queries.jsonl", [{"_id": f"q{n}", "text": f"query {n}"} for n in range(queries)])
    (folder / "qrels").mkdir(exist_ok=True)
    for split, rows in qrels.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
