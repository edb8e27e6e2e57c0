"""What runs beside or before others: child processes, and locks that keep a folder to one process."""
