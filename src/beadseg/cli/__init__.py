"""The command line, `beadseg-batch`: one file per command, thin. Heavy libraries are imported inside functions."""
