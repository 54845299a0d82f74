"""libcurl through pycurl: the default transport."""
