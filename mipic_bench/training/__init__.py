"""The training of one cell: `trainer.py` is the loop; its batches, its accelerator and its checkpoints stand beside it."""
