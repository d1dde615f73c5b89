"""One file a revision; written once, never changed."""
