"""`python -m deploy.local`: the private stack from the command line."""

from deploy.local.command_line import main

raise SystemExit(main())
