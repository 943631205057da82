#!/bin/sh
# A service that is not Python tells of a wrong transcript: plain JSON to the REST API of Pub/Sub, published with curl.
#   GOOGLE_CLOUD_PROJECT=my-project ./report_error_curl.sh UTTERANCE_ID gs://calls/1.wav MODEL_VERSION HEARD [SAID]
# ACCESS_TOKEN is asked of gcloud where it is not set; a machine of Google's may ask its metadata server. PUBSUB_URL is a local
# stack's address (`retune env` calls it CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB), which wants no token.
set -eu
[ $# -ge 4 ] || { echo "usage: $0 UTTERANCE_ID AUDIO_URI MODEL_VERSION HEARD [SAID]" >&2; exit 2; }

text() { # a JSON string, whatever is in it
    printf '"%s"' "$(printf %s "$1" | tr '\n\r\t' '   ' | sed 's/[\\"]/\\&/g')"
}
event="{\"event_id\": $(text "error-$1"), \"occurred_at\": \"$(date -u +%Y-%m-%dT%H:%M:%SZ)\""
event="$event, \"utterance_id\": $(text "$1"), \"audio_uri\": $(text "$2"), \"model_version\": $3, \"hypothesis\": $(text "$4")"
[ $# -lt 5 ] || event="$event, \"reference\": $(text "$5"), \"reference_provenance\": \"human\""

data=$(printf %s "$event}" | base64 | tr -d '\n')
request="{\"messages\": [{\"data\": \"$data\", \"attributes\": {\"type\": \"SttError\", \"v\": \"1\"}}]}"
[ -n "${PUBSUB_URL:-}" ] || token=${ACCESS_TOKEN:-$(gcloud auth print-access-token)}
exec curl --fail-with-body --silent --show-error --retry 5 --max-time 30 \
    --header "Authorization: Bearer ${token:-none}" --header "Content-Type: application/json" --data "$request" \
    "${PUBSUB_URL:-https://pubsub.googleapis.com/}v1/projects/$GOOGLE_CLOUD_PROJECT/topics/stt-errors:publish"
