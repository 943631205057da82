"""What people ask for, the same for the command line and for the console: checked beforehand, then the message that says it.

Nothing here publishes, waits or writes to the store: whoever calls does. What an act would be refused for is told by the function that
would refuse it, so this imports deployer and launcher, and views for what a person reviews; never the dashboard.
"""
