"""The local side: files on their way to disk, what folders hold, where downloads land."""
