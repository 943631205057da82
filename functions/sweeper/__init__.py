"""Every minute: carries on what stands still.

It decides what is due (`decide`, `verdict`) and has it done by the code of whoever's business it is: the launcher's, and the event that
the validator announces with. It asks the deployer by message and moves no alias itself. Imports launcher and validator.
"""
