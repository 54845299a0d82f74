"""``cloudfiles-hypha``: the batch API for a shell.

``main`` has the exit codes and the way out, ``commands`` what all commands share; ``report`` says things, ``places``
takes cloudpaths apart; the other modules have the commands, a file for each group. They decide what is to be copied,
listed or removed, and where it goes; ``files`` does it, ``disk`` knows the local side.
"""
