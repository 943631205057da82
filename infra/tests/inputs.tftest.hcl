# What is refused before anything is created. Each run plans the whole: what can be refused together, is.

mock_provider "google" {}
mock_provider "archive" {}

variables {
  project_id = "retune-example"
  region     = "europe-west4"
}

run "refuses_what_is_malformed" {
  command = plan
  expect_failures = [
    var.alert_emails, var.audio_buckets, var.billing_account, var.environment, var.keepers, var.kms_key, var.monthly_budget,
    var.operators, var.project_id, var.publishers, var.trainer_image, var.trainer_machines,
  ]

  variables {
    alert_emails     = ["ana"]
    audio_buckets    = ["gs://calls/2026"]
    billing_account  = "my account"
    environment      = "Production"
    keepers          = ["allUsers"]
    kms_key          = "projects/keys/locations/us/keyRings/retune/cryptoKeys/retune" # another region's
    monthly_budget   = 0.5
    operators        = ["allAuthenticatedUsers"]
    project_id       = "My Project"
    publishers       = ["allUsers"]
    trainer_image    = "europe-west4-docker.pkg.dev/retune-example/retune-trainer/trainer:latest"
    trainer_machines = [{ machine_type = "e2-standard-8", provisioning = "spot" }] # no GPU
  }
}

run "refuses_a_public_llm_without_nat_and_a_zone_of_another_region" {
  command         = plan
  expect_failures = [var.nat, var.trainer_machines]

  variables {
    policy           = { gold = { base_url = "https://api.mistral.ai/v1", model = "voxtral-small-2507" } }
    trainer_machines = [{ machine_type = "g2-standard-8", provisioning = "spot", zones = ["us-central1-a"] }]
  }
}

run "refuses_an_unknown_launcher_provisioning_and_policy" {
  command         = plan
  expect_failures = [var.policy, var.trainer_launcher, var.trainer_machines]

  variables {
    policy           = { holdout_share = 1, canary = { on_silence = "hope" } }
    trainer_launcher = "kubernetes"
    trainer_machines = [{ machine_type = "g2-standard-8", provisioning = "preemptible" }]
  }
}

run "refuses_a_zone_as_region" {
  command         = plan
  expect_failures = [var.region]

  variables {
    region = "europe-west4-a"
  }
}
