"""Gold transcripts: asks an LLM or a speech model for them, and decides which of its answers to believe.

Nothing here knows of cycles, and nothing stands in for an answer. Only `make.py` and `filter.py` know what the base model hears; only
`endpoint.py` touches the network.

    make.py          clips in, a record of each out
    question.py      what is asked and answered, and the port behind which every model stands
    ask.py           many clips: from the cache, within a budget, tried again
    cache.py         answers that are known
    budget.py        what asking may cost
    transcribers.py  the two kinds of model behind the port
    prompt.py        what a request says
    replies.py       what a reply says
    endpoint.py      posts, with OpenAI's SDK
    problems.py      what can go wrong, and what a person does about it
    agreement.py     how far samples say the same
    filter.py        accept, reject, or ask a person
    check.py         `retune llm-check`
"""
