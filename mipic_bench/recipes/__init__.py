"""A TOML file becomes a recipe: read, checked, its ablations and swept values by name."""
