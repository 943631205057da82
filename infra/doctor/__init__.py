"""`retune doctor`: looks at a project before and after `terraform apply`, changes nothing, and says what to do for each problem.

google.py              one question to one of Google's APIs, one answer [io]
questions.py           which questions are asked, and in which order [io]
optional_questions.py  which are asked about the notifier and the console [io]
project_checks.py      what must hold before anything is applied. Pure
system_checks.py       what must hold of what was applied. Pure
optional_checks.py     what must hold of the notifier and the console, where somebody asked for them. Pure
findings.py            what a check says
report.py              for people
"""
