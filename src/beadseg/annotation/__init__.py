"""What is known and decided about a dataset's annotations: audit, review, drafts."""
