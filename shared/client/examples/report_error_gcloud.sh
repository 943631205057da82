#!/bin/sh
# A service that is not Python tells of a wrong transcript: plain JSON, published with gcloud.
#   GOOGLE_CLOUD_PROJECT=my-project ./report_error_gcloud.sh UTTERANCE_ID gs://calls/1.wav MODEL_VERSION HEARD [SAID]
# The event's id follows from the utterance, so that a second run reports nothing twice.
set -eu
[ $# -ge 4 ] || { echo "usage: $0 UTTERANCE_ID AUDIO_URI MODEL_VERSION HEARD [SAID]" >&2; exit 2; }

text() { # a JSON string, whatever is in it
    printf '"%s"' "$(printf %s "$1" | tr '\n\r\t' '   ' | sed 's/[\\"]/\\&/g')"
}
event="{\"event_id\": $(text "error-$1"), \"occurred_at\": \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\""
event="$event, \"utterance_id\": $(text "$1"), \"audio_uri\": $(text "$2"), \"model_version\": $3, \"hypothesis\": $(text "$4")"
[ $# -lt 5 ] || event="$event, \"reference\": $(text "$5"), \"reference_provenance\": \"human\""

exec gcloud --quiet pubsub topics publish stt-errors --project="$GOOGLE_CLOUD_PROJECT" --message="$event}" --attribute=type=SttError,v=1
