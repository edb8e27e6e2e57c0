"""Train in the viewer: plan, child process, curves."""
