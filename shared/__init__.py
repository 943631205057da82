"""What all parts of Retune agree on: events, ids, stores, the ledger, the cycle, the registry and the statistics.

Here is what several parts share, and all statistics; what one function or one command alone needs lives with it. Nothing here imports
`functions`, `trainer`, `infra` or torch (`make lint` holds it). Modules marked [io] touch the outside, the others are pure but for the
store or bus that they are given. A part that starts often must not pay for numpy, scipy or an SDK that it does not use: few modules
import them at their top, the others inside of the function that needs them (`tests/unit/test_imports.py`).

By subject, those first that others build on:

documents and names
    documents         the base of every stored document; how it becomes bytes and comes back
    errors            exceptions by who must act, and what their texts show of a stranger's value
    ids               ids that follow from a cause, random ones, and a version as people call it
    keys              where every object of the bucket lies
    clock             time as an argument
    log               one line of JSON for each thing that happened [io]
    config            the settings of a deployable, read once from its environment
    code_identity     which code made something

stores of objects
    objectstore       the port
    cas               conditional writes, the one loop around a commit, and reading what may not be there
    stores            from an address to the store
    gcs_store         a bucket of Cloud Storage [io]
    dir_store         a folder of one machine [io]
    dir_layout        how objects lie in that folder
    whole_file        files that appear whole or not at all [io]
    spool             more items than memory holds, in their order
    line_objects      objects of more lines than memory holds

messages
    events            every event that crosses a topic
    messages          how an event becomes a message, and the only way back
    bus               the port
    pubsub            Google Cloud Pub/Sub [io]
    backlog           the port that tells how much waits
    monitoring        the same from Cloud Monitoring [io]

what is collected
    head              which cycle collects now
    ledger            the events of one cycle: append, count, read
    totals            what a ledger holds, as numbers
    compaction        segments folded into parts, and a sealed ledger deleted
    arrivals          how a report came, for its trace

a cycle and its training
    cycle             the state machine
    policy            every number that an operator sets, and whether to start
    budget            what training may cost, and did cost
    machine           the kind of machine that a trainer runs on
    trainer_machines  the machines that may train on Google Cloud
    training          the spec with its clips and settings, the run's signs of life, its result
    gold              transcripts of language and speech models: how to ask, what was answered

data to learn from and to judge by
    audio_source      audio by address, pinned and fetched [io]
    dataset           what a cycle consumed, row by row
    holdout           which rows judge, and what of all cycles is in use
    splits            the wall between what trains and what judges
    placement         rows get audio and a split: the last step of a seal
    former            what past cycles say of recordings, in few objects
    told              what corpora said of recordings when a cycle was sealed
    corpora           replay and memory, and who stands on which side of the wall
    suites            clips that a model must stay good on, in versions
    cases             production errors that a version fixed
    forgotten         people who were forgotten, and digests that changed for it

error rates and what may be said of them
    normalisation     text as it is compared
    wer               word and character error rates: counted, pooled
    wer_align         what was heard for each word
    rates             bounds on a rate, without numpy
    wer_stats         two models on the same utterances: intervals and tests that resample speakers
    wer_compare       the gate's tests
    wer_power         what a holdout or a suite can show
    sizing            whether the next holdout can show the gain that is worth a run
    wer_classic       the tests that papers report
    multiplicity      several tests, one claim
    sequential        two rates compared at every look, always valid

verdicts, models and what serves
    verdict           the validator's report
    manifest          a model's files and where it comes from
    registry          the production alias and its moves
    alias             reads it, and tells a new one from a lost one
    retention         which models stay
    watch             what was seen of a version on canary or under guard

what people read
    wording           numbers and lengths of time in words
    pages             HTML pages from templates
    diffs             transcripts word by word
    plot              intervals as a drawing
    visible           what a terminal would obey, shown instead
    terminal          where commands print [io]

traces
    tracing           one trace a cycle: its names, and the port
    otel              OpenTelemetry's SDK [io]

Besides: `client/` is `retune_client`, a package of its own that a customer's service installs and that imports nothing of ours; `schemas/`
holds the JSON Schemas that are made from events and report; `testing/` the ports in memory, for tests and the local stack alone.
"""
