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
    var.alert_emails, var.audio_buckets, var.billing_account, var.console_viewers, var.environment, var.keepers, var.monthly_budget, var.nat,
    var.operators, var.project_id, var.publishers, var.region, var.trainer_image,
  ]

  variables {
    alert_emails    = ["ana"]
    audio_buckets   = ["gs://calls/2026"]
    billing_account = "my account"
    console_viewers = ["allUsers"]
    environment     = "Production"
    keepers         = ["allUsers"]
    monthly_budget  = 0.5
    operators       = ["allAuthenticatedUsers"]
    policy          = { gold = { base_url = "https://api.mistral.ai/v1", model = "voxtral-small-2507" } } # public, without NAT
    project_id      = "My Project"
    publishers      = ["allUsers"]
    region          = "europe-west4-a"
    trainer_image   = "europe-west4-docker.pkg.dev/retune-example/retune-trainer/trainer:latest"
  }
}

run "refuses_a_machine_without_gpu_a_key_of_another_region_and_a_machine_that_costs_nothing" {
  command         = plan
  expect_failures = [var.kms_key, var.policy, var.trainer_machines]

  variables {
    kms_key          = "projects/keys/locations/us/keyRings/retune/cryptoKeys/retune"
    policy           = { budget = { prices = { g2-standard-8 = { spot = 0 } } } }
    trainer_machines = [{ machine_type = "e2-standard-8", provisioning = "spot" }]
  }
}

run "refuses_a_zone_of_another_region_and_a_price_of_a_kind_that_nobody_knows" {
  command         = plan
  expect_failures = [var.policy, var.trainer_machines]

  variables {
    policy           = { budget = { prices = { g2-standard-8 = { preemptible = 0.4 } } } }
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
