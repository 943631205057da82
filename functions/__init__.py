"""Cloud Functions: collector, launcher, validator, deployer and sweeper; notifier and dashboard for people. No torch here.

A folder with a `main.py`, the entry point, is deployed. Its `handler.py` is the shell (parse, decide, persist, emit); what is decided is
pure and lies in files beside it. `acts` and `views` are what the dashboard and the command line share.

What lies here and not in a folder is what several functions need: their ports (`runtime`), the adapters between HTTP and handlers
(`push`, `push_async`), which function reads which topics (`wiring`), how cycles stand (`states`), and what more than one of them tells
of a cycle (`crossing`, `cycle_trace`). It imports `shared` and no folder.

    dashboard -> acts -> views -> sweeper -> launcher, validator, deployer -> what lies here -> shared
                                             collector, notifier
Functions meet in events and objects: those side by side never import each other. A linter's contract holds all of this.
"""
