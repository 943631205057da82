# A project of its own: topics have fixed names.
# terraform -chdir=infra apply -var-file=envs/dev.tfvars
project_id  = "example-retune-dev"
region      = "europe-west4"
environment = "dev"

audio_buckets = ["example-calls-dev"]
operators     = ["group:speech-developers@example.org"]
keepers       = ["group:speech-developers@example.org"]

trainer_machines = [{ machine_type = "g2-standard-4", provisioning = "spot" }]

# Every cycle starts and ends by itself, on little evidence.
policy = {
  min_error_cases         = 50
  auto_approve_finetuning = true
  auto_deploy             = true
  budget                  = { max_gpu_hours = 10 }
}
