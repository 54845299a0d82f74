"""Named mounts: files of any store by ``mount:path``, by methods that are the same in sync and in async code."""
