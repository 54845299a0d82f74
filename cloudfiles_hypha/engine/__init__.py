"""Who carries the work: threads that carry greenlets, plain threads, gevent's greenlets, or the caller."""
