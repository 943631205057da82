# terraform -chdir=infra apply -var-file=envs/prod.tfvars
project_id = "example-retune-prod"
region     = "europe-west4"

audio_buckets = ["example-calls"]
publishers    = ["serviceAccount:stt@example-speech.iam.gserviceaccount.com"]
operators     = ["group:speech-oncall@example.org"]
keepers       = ["group:speech-data@example.org"]
alert_emails  = ["speech-oncall@example.org"]

# Printed by the image's build; see the output next_steps.
# trainer_image = "europe-west4-docker.pkg.dev/example-retune-prod/retune-trainer/trainer@sha256:..."

billing_account = "012345-6789AB-CDEF01"
monthly_budget  = 500

policy = {
  min_error_cases = 200
  budget          = { max_gpu_hours = 40 }
  canary          = { percent = 10 }
}
