"""What the verbs of the command line do: read the options, call, print. `cli.py` puts them together."""
