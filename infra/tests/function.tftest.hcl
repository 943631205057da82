mock_provider "google" {}
mock_provider "archive" {}

variables {
  project_id    = "retune-example"
  name          = "collector"
  description   = "Collects."
  region        = "europe-west4"
  sources       = { root = "..", paths = ["LICENSE"] }
  made          = { "main.py" = "print(1)" }
  bucket        = "b"
  source_folder = "source/"
  build         = { service_account = "projects/p/serviceAccounts/build@x", repository = "projects/p/locations/l/repositories/r", worker_pool = null }
  size          = { timeout_s = 60, memory = "512Mi", cpu = "1", concurrency = 80, max_instances = 20 }
  environment   = { THREADS = "80" }
  invoker       = "serviceAccount:push@x"
  vpc_connector = null
  kms_key       = ""
}

run "function" {
  command = apply

  module {
    source = "./modules/function"
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].service_account_email == "retune-collector@retune-example.iam.gserviceaccount.com" && google_service_account.this.account_id == "retune-collector"
    error_message = "Function: expected it to run as an account of its own."
  }
  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"
    error_message = "Function: expected no way in from the internet."
  }
  assert {
    condition     = google_cloud_run_service_iam_member.invoker.member == "serviceAccount:push@x" && google_cloud_run_service_iam_member.invoker.role == "roles/run.invoker"
    error_message = "Function: expected Pub/Sub's account alone to call it."
  }
  assert {
    condition     = length(google_cloudfunctions2_function.this.event_trigger) == 0
    error_message = "Function: expected no trigger of Eventarc's, which can have no dead letters."
  }
  assert {
    condition     = google_storage_bucket_object.source.name == "source/collector-${sha256(jsonencode({ "main.py" = "print(1)", "LICENSE" = filesha256("../LICENSE") }))}.zip" && google_cloudfunctions2_function.this.build_config[0].source[0].storage_source[0].object == google_storage_bucket_object.source.name
    error_message = "Source: expected an object named by the digest of what is in it."
  }
  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].service_account == var.build.service_account
    error_message = "Build: expected it to run as the builder, not as the project's default account."
  }
  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].max_instance_request_concurrency == 80 && google_cloudfunctions2_function.this.service_config[0].available_cpu == "1"
    error_message = "Function: expected the size that was asked for."
  }
  assert {
    condition     = google_cloudfunctions2_function.this.build_config[0].entry_point == "entry" && google_cloudfunctions2_function.this.build_config[0].runtime == "python311"
    error_message = "Function: expected the entry point and the Python of the bundles."
  }
}

run "reads_its_secrets" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    secrets = { RETUNE_WEBHOOKS = "retune-webhooks" }
  }

  assert {
    condition     = one(google_cloudfunctions2_function.this.service_config[0].secret_environment_variables).secret == "retune-webhooks" && one(google_cloudfunctions2_function.this.service_config[0].secret_environment_variables).key == "RETUNE_WEBHOOKS"
    error_message = "Secret: expected it in the environment, and never its content in the configuration."
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.reader["RETUNE_WEBHOOKS"].member == "serviceAccount:retune-collector@retune-example.iam.gserviceaccount.com" && google_secret_manager_secret_iam_member.reader["RETUNE_WEBHOOKS"].role == "roles/secretmanager.secretAccessor"
    error_message = "Secret: expected the function's own account to read it, and to do nothing else with it."
  }
}

run "inside_a_perimeter" {
  command = plan

  module {
    source = "./modules/function"
  }

  variables {
    vpc_connector = "projects/p/locations/l/connectors/c"
    build         = { service_account = "s", repository = "r", worker_pool = "projects/p/locations/l/workerPools/w" }
  }

  assert {
    condition     = google_cloudfunctions2_function.this.service_config[0].vpc_connector_egress_settings == "ALL_TRAFFIC" && google_cloudfunctions2_function.this.build_config[0].worker_pool == "projects/p/locations/l/workerPools/w"
    error_message = "Perimeter: expected all traffic through the connector, and a private build."
  }
}

run "refuses_a_timeout_that_no_deadline_outlasts" {
  command         = plan
  expect_failures = [var.size]

  module {
    source = "./modules/function"
  }

  variables {
    size = { timeout_s = 900, memory = "512Mi", cpu = "1", concurrency = 1, max_instances = 1 }
  }
}
