"""What holds for every test: the ones here, under ``tests`` and in ``automated_test.py``."""

import signal

# A shell that runs pytest in the background has it ignore SIGINT, and so would every process that a test starts in
# order to interrupt it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
