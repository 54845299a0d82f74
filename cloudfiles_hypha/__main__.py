"""``python -m cloudfiles_hypha`` is the command line."""

from .cli import main

raise SystemExit(main())
