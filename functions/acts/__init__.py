"""What people ask for, the same for the command line and for the console: checked beforehand, then the message that says it."""
