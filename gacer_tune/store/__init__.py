"""What must survive on disk: journals, published folders, the cache, digests and the fingerprint of the machine."""
