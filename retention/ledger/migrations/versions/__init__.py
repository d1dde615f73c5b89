"""One file a revision; written once, never changed. Each can be resumed, as `resumed.py` says."""
