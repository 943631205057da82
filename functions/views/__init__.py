"""What people look at: the records as frozen values, the same for the command line and for the console; nothing here writes.

How they are printed or laid out is not said here. Imports launcher and sweeper for what they know how to read; never acts or dashboard.
"""
