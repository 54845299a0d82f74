"""``python -m cloudfiles_hypha`` is the command line."""

from .cli.main import main

raise SystemExit(main())
