"""PBS: job scripts from a pure function, sending, watching and ending jobs, and what a folder knows of its jobs."""
