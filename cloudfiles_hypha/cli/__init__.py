"""``cloudfiles-hypha``: the batch API for a shell.

``main`` has the parser, the exit codes and the way out; ``report`` says things, ``places`` takes cloudpaths apart;
``reading``, ``copying``, ``writing`` and ``server`` have the commands. They decide what is to be copied, listed or
removed, and where it goes; ``files`` does it, ``disk`` knows the local side.
"""
