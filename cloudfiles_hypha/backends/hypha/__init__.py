"""``hypha://``: artifacts, through the URLs that a Hypha server signs for its S3."""
