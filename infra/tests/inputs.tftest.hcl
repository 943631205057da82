# What is refused before anything is created.

mock_provider "google" {}
mock_provider "archive" {}

variables {
  project_id = "retune-example"
  region     = "europe-west4"
}

run "refuses_a_zone_as_region" {
  command         = plan
  expect_failures = [var.region]
  variables {
    region = "europe-west4-a"
  }
}

run "refuses_an_image_by_tag" {
  command         = plan
  expect_failures = [var.trainer_image]
  variables {
    trainer_image = "europe-west4-docker.pkg.dev/retune-example/retune-trainer/trainer:latest"
  }
}

run "refuses_a_machine_without_gpu" {
  command         = plan
  expect_failures = [var.trainer_machines]
  variables {
    trainer_machines = [{ machine_type = "e2-standard-8", provisioning = "spot" }]
  }
}

run "refuses_a_zone_of_another_region" {
  command         = plan
  expect_failures = [var.trainer_machines]
  variables {
    trainer_machines = [{ machine_type = "g2-standard-8", provisioning = "spot", zones = ["us-central1-a"] }]
  }
}

run "refuses_an_unknown_provisioning" {
  command         = plan
  expect_failures = [var.trainer_machines]
  variables {
    trainer_machines = [{ machine_type = "g2-standard-8", provisioning = "preemptible" }]
  }
}

run "refuses_the_public_as_publisher" {
  command         = plan
  expect_failures = [var.publishers, var.operators, var.keepers]
  variables {
    publishers = ["allUsers"]
    operators  = ["allAuthenticatedUsers"]
    keepers    = ["allUsers"]
  }
}

run "refuses_a_public_llm_without_nat" {
  command         = plan
  expect_failures = [var.nat]
  variables {
    policy = { gold = { base_url = "https://api.mistral.ai/v1", model = "voxtral-small-2507" } }
  }
}

run "refuses_a_policy_beyond_its_limits" {
  command         = plan
  expect_failures = [var.policy]
  variables {
    policy = { holdout_share = 1, canary = { on_silence = "hope" } }
  }
}

run "takes_a_table_of_prices" {
  command = plan
  variables {
    policy = { budget = { max_usd = 50, prices = { g2-standard-8 = { spot = 0.4, standard = 1.1 } } } }
  }
  assert {
    condition     = jsondecode(output.environment.RETUNE_POLICY).budget.prices["g2-standard-8"].spot == 0.4
    error_message = "Prices: expected the functions to be handed the table."
  }
}

run "refuses_a_price_of_a_kind_that_nobody_knows" {
  command         = plan
  expect_failures = [var.policy]
  variables {
    policy = { budget = { prices = { g2-standard-8 = { preemptible = 0.4 } } } }
  }
}

run "refuses_a_machine_that_costs_nothing" {
  command         = plan
  expect_failures = [var.policy]
  variables {
    policy = { budget = { prices = { g2-standard-8 = { spot = 0 } } } }
  }
}

run "refuses_a_bucket_with_a_folder" {
  command         = plan
  expect_failures = [var.audio_buckets]
  variables {
    audio_buckets = ["gs://calls/2026"]
  }
}

run "refuses_a_key_of_another_region" {
  command         = plan
  expect_failures = [var.kms_key]
  variables {
    kms_key = "projects/keys/locations/us/keyRings/retune/cryptoKeys/retune"
  }
}

run "refuses_a_fraction_of_money_and_a_nameless_account" {
  command         = plan
  expect_failures = [var.monthly_budget, var.billing_account, var.alert_emails, var.trainer_launcher, var.environment, var.project_id]
  variables {
    monthly_budget   = 0.5
    billing_account  = "my account"
    alert_emails     = ["ana"]
    trainer_launcher = "kubernetes"
    environment      = "Production"
    project_id       = "My Project"
  }
}
