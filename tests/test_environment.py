"""What a number was made with, as provenance says it."""

import subprocess
from pathlib import Path

from mipic_bench.paths import CHECKOUT
from mipic_bench.running import environment


def test_a_checkout_knows_its_commit_and_whether_it_was_edited(tmp_path, monkeypatch):
    assert (CHECKOUT / "mipic_bench" / "paths.py").is_file()

    def git(*words):
        who = ("-c", "user.name=me", "-c", "user.email=me@example.org")
        done = subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert environment.commit() == ""  # installed: no checkout
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert len(head) == 40 and environment.commit() == head
    Path(tmp_path / "file").write_text("two")
    assert environment.commit() == f"{head}+changes"
    monkeypatch.setenv("PATH", "")
    assert environment.commit() == ""  # a checkout on a machine without git: no cell is lost for it
