"""`python -m deploy.local.demo`: the demo from the command line."""

from deploy.local.demo.command_line import main

raise SystemExit(main())
