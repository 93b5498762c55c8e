"""Train, score and compare nested (Matryoshka) sentence embeddings at every layer and width."""
