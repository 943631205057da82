"""The GPU container: data, fine-tuning, evaluation and export. Of what is deployed, the only place with torch.

From what is started down to what all else stands on: a line may import those below it, and `shared`; never `functions` or `infra`. Each
package says in the same way what lives in it.

    __main__.py      one attempt of one cycle, as the container is started
    selftest.py      the same on a tiny model, to see whether the trainer can work where it is
    testing.py       builders for that and for tests: a tiny model, clips of tones, a cycle that is ready to train
    attempt/         one attempt of one cycle, from the spec to `result.json`
    finetune/        `retune finetune`: a folder of audio instead of a cycle
    learning/        from clips to a better network: the loop, the scale, the export, and what became of it
    gold/            transcripts from a language or speech model, and whether the sound bears them out
    importing.py     a person's own model, brought into the form that everything here loads
    augment/         what makes a clip another one each time it is trained on
    clips/           audio and references: fetched, decoded, checked, numbers written out
    recogniser.py    speech to text with a model folder; services import it, too
    network/         a wav2vec2 CTC network: loaded, cut in two, run in batches, read
    process.py       threads, cores and log of a process that trains
    shell/           around the work of an attempt: claim, sign of life, last word; no torch
    sbom.py          what the image consists of
"""
