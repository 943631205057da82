"""What people look at: the records as frozen values, the same for the command line and for the console; nothing here writes."""
