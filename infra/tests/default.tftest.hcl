# The configuration of a first apply: project and region, nothing else. Also the source of tests/infra/inventory.txt.

mock_provider "google" {}

mock_provider "archive" {}

variables {
  project_id = "retune-example"
  region     = "europe-west4"
}

run "default" {
  command = plan

  assert {
    condition     = toset(keys(module.topic)) == toset(["stt-errors", "finetune-triggers", "training-events", "validation-events", "model-commands", "model-events", "ticks"])
    error_message = "Topics: expected the seven of the architecture."
  }
  assert {
    condition = sort(flatten([for topic in module.topic : topic.subscriptions])) == tolist([
      "collector-stt-errors", "deployer-model-commands", "deployer-validation-events", "launcher-finetune-triggers",
      "launcher-training-events", "sweeper-ticks", "validator-training-events",
    ])
    error_message = "Subscriptions: expected one for each function and topic that it reads, named FUNCTION-TOPIC."
  }
  assert {
    condition     = sort(flatten([for topic in module.topic : topic.dead_subscriptions])) == sort([for name in flatten([for topic in module.topic : topic.subscriptions]) : "${name}-dead"])
    error_message = "Dead letters: expected a place for those of every subscription."
  }
  assert {
    condition     = length(setunion([for function in module.function : function.email], [local.push_email, local.build_email, module.trainer.email])) == 8
    error_message = "Accounts: expected one for each function, and others for pushes, builds and trainers."
  }
  assert {
    condition = { for name, topic in module.topic : name => join(" ", topic.publishers) } == {
      "stt-errors"        = ""
      "finetune-triggers" = "collector sweeper"
      "training-events"   = "sweeper trainer"
      "validation-events" = "sweeper validator"
      "model-commands"    = "sweeper"
      "model-events"      = "deployer sweeper"
      "ticks"             = ""
    }
    error_message = "Publishers: expected no account on a topic that it does not publish to."
  }
  assert {
    condition     = google_cloud_scheduler_job.tick.schedule == "* * * * *" && google_cloud_scheduler_job.tick.pubsub_target[0].attributes["type"] == "Tick"
    error_message = "Tick: expected one a minute, under its type."
  }
  assert {
    condition     = local.functions.collector.size.concurrency == 80 && local.functions.collector.size.cpu == "1"
    error_message = "Collector: expected 80 requests at once on one CPU, for group commit."
  }
  assert {
    condition     = jsondecode(local.function_environment["RETUNE_POLICY"]).min_error_cases == 100 && jsondecode(local.function_environment["RETUNE_POLICY"]).gold == null
    error_message = "Policy: expected every number with its default."
  }
  assert {
    condition     = local.trainer_environment["RETUNE_TRAINER_IMAGE"] == "" && strcontains(join("\n", output.next_steps), "trainer/cloudbuild.yaml")
    error_message = "Image: expected none at first, and the build command among the next steps."
  }
  assert {
    condition = jsondecode(local.trainer_environment["RETUNE_TRAINER_MACHINES"]) == [
      { machine_type = "g2-standard-8", provisioning = "spot", zone = "europe-west4-a" },
      { machine_type = "g2-standard-8", provisioning = "spot", zone = "europe-west4-b" },
      { machine_type = "g2-standard-8", provisioning = "spot", zone = "europe-west4-c" },
      { machine_type = "g2-standard-8", provisioning = "standard", zone = "europe-west4-a" },
      { machine_type = "g2-standard-8", provisioning = "standard", zone = "europe-west4-b" },
      { machine_type = "g2-standard-8", provisioning = "standard", zone = "europe-west4-c" },
    ]
    error_message = "Machines: expected Spot in every zone before anything on demand."
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.llm_key.role == "roles/secretmanager.secretAccessor" && google_secret_manager_secret_iam_member.llm_key.member == "serviceAccount:retune-trainer@retune-example.iam.gserviceaccount.com"
    error_message = "Secret: expected the trainer alone to read the language model's key."
  }
  assert {
    condition     = length(google_project_iam_member.traces) == 0 && alltrue([for function in module.function : !contains(keys(function.environment), "OTEL_EXPORTER_OTLP_ENDPOINT")])
    error_message = "Traces: expected none, and nobody who may write any."
  }
  assert {
    condition     = length(google_kms_crypto_key_iam_member.agents) == 0 && length(google_storage_bucket_iam_member.audio) == 0
    error_message = "Default: expected neither a customer's key nor anybody else's bucket."
  }
  assert {
    condition     = alltrue([for grant in google_project_iam_member.build : startswith(grant.role, "roles/") && !contains(["roles/owner", "roles/editor", "roles/viewer"], grant.role)])
    error_message = "Build: expected no primitive role."
  }
  assert {
    condition     = alltrue([for name, grant in google_project_iam_member.build : name == "logs" || length(grant.condition) == 1])
    error_message = "Build: expected sources to be read from Cloud Build's own buckets alone."
  }
  assert {
    condition     = toset([for service in google_project_service.this : service.service]) == local.services && alltrue([for service in google_project_service.this : !service.disable_on_destroy])
    error_message = "Services: expected all that the system needs, left on at a destroy."
  }
  assert {
    condition     = strcontains(output.force_run, "{\"force\": true}") && strcontains(output.roll_back, "{\"rollback\": true}")
    error_message = "Outputs: expected the commands that force a cycle and roll back."
  }
  assert {
    condition     = module.store.deletable == false
    error_message = "Registry: expected a destroy to leave it unless told twice."
  }
}

run "the_whole_matrix" {
  command = plan

  variables {
    publishers = ["serviceAccount:stt@retune-example.iam.gserviceaccount.com"]
    operators  = ["user:ana@example.org"]
    keepers    = ["group:speech@example.org"]
  }

  # Account x folder -> c(reate) d(elete) g(et) l(ist). Every cell that is not here is empty.
  assert {
    condition = { for cell, verbs in output.access : cell => join("", [for verb in verbs : substr(verb, 0, 1)]) } == {
      "collector/cycles"     = "gl"
      "collector/ledger"     = "cgl"
      "collector/quarantine" = "cgl"
      "collector/registry"   = "gl"

      "launcher/corpora"    = "cgl"
      "launcher/cycles"     = "cdgl"
      "launcher/ledger"     = "gl"
      "launcher/models"     = "gl"
      "launcher/quarantine" = "cgl"
      "launcher/registry"   = "gl"
      "launcher/runs"       = "gl"
      "launcher/verdicts"   = "gl"

      "sweeper/corpora"    = "cdgl"
      "sweeper/cycles"     = "cdgl"
      "sweeper/ledger"     = "cdgl"
      "sweeper/models"     = "gl"
      "sweeper/quarantine" = "cgl"
      "sweeper/registry"   = "gl"
      "sweeper/runs"       = "gl"
      "sweeper/verdicts"   = "gl"

      "validator/cycles"     = "cdgl"
      "validator/models"     = "gl"
      "validator/quarantine" = "cgl"
      "validator/runs"       = "gl"
      "validator/verdicts"   = "cgl"

      "deployer/corpora"    = "gl"
      "deployer/cycles"     = "cdgl"
      "deployer/models"     = "gl"
      "deployer/quarantine" = "cgl"
      "deployer/registry"   = "cdgl"
      "deployer/verdicts"   = "gl"

      "trainer/corpora" = "gl"
      "trainer/cycles"  = "cdgl"
      "trainer/models"  = "cgl"
      "trainer/runs"    = "cdgl"

      "publishers:serviceAccount:stt@retune-example.iam.gserviceaccount.com/models"   = "gl"
      "publishers:serviceAccount:stt@retune-example.iam.gserviceaccount.com/registry" = "gl"

      "operators:user:ana@example.org/corpora"    = "gl"
      "operators:user:ana@example.org/cycles"     = "gl"
      "operators:user:ana@example.org/ledger"     = "gl"
      "operators:user:ana@example.org/models"     = "gl"
      "operators:user:ana@example.org/quarantine" = "gl"
      "operators:user:ana@example.org/registry"   = "gl"
      "operators:user:ana@example.org/runs"       = "gl"
      "operators:user:ana@example.org/verdicts"   = "gl"

      "keepers:group:speech@example.org/corpora"    = "cdgl"
      "keepers:group:speech@example.org/cycles"     = "cdgl"
      "keepers:group:speech@example.org/ledger"     = "cdgl"
      "keepers:group:speech@example.org/models"     = "cdgl"
      "keepers:group:speech@example.org/quarantine" = "cdgl"
      "keepers:group:speech@example.org/registry"   = "gl"
      "keepers:group:speech@example.org/runs"       = "cdgl"
      "keepers:group:speech@example.org/verdicts"   = "cdgl"
    }
    error_message = "Matrix: expected each account to have just these permissions in each folder."
  }
  assert {
    condition     = toset([for cell, verbs in output.access : split("/", cell)[0] if endswith(cell, "/registry") && length(setintersection(verbs, ["create", "delete"])) > 0]) == toset(["deployer"])
    error_message = "Alias: expected the deployer alone to write the registry."
  }
  assert {
    condition     = alltrue([for verbs in values(output.access) : contains(verbs, "get") == contains(verbs, "list")])
    error_message = "Matrix: expected get and list together, since without list an absent object answers 403."
  }
  assert {
    condition     = length([for cell in keys(output.access) : cell if endswith(cell, "/source")]) == 0
    error_message = "Sources: expected nobody to read or write the code of the functions in the bucket."
  }
  assert {
    condition     = module.topic["stt-errors"].publishers == tolist(["serviceAccount:stt@retune-example.iam.gserviceaccount.com", "user:ana@example.org"])
    error_message = "Reports: expected production and, for dead letters, operators to publish them."
  }
  assert {
    condition     = contains(module.topic["finetune-triggers"].publishers, "user:ana@example.org") && contains(module.topic["model-commands"].publishers, "user:ana@example.org")
    error_message = "Commands: expected operators to start, approve and roll back."
  }
  assert {
    condition     = !contains(flatten([for topic in ["finetune-triggers", "model-commands", "model-events", "training-events", "validation-events"] : module.topic[topic].publishers]), "serviceAccount:stt@retune-example.iam.gserviceaccount.com")
    error_message = "Production: expected it to publish reports and nothing else."
  }
  assert {
    condition     = alltrue([for grant in google_pubsub_topic_iam_member.listener : grant.role == "roles/pubsub.subscriber"]) && length(google_pubsub_topic_iam_member.listener) == 1
    error_message = "Production: expected it to hear of new models."
  }
}

run "with_everything" {
  command = plan

  variables {
    trainer_image      = "europe-west4-docker.pkg.dev/retune-example/retune-trainer/trainer@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    audio_buckets      = ["calls"]
    alert_emails       = ["ana@example.org"]
    billing_account    = "012345-6789AB-CDEF01"
    kms_key            = "projects/keys/locations/europe-west4/keyRings/retune/cryptoKeys/retune"
    perimeter          = { vpc_connector = "projects/retune-example/locations/europe-west4/connectors/c", worker_pool = "projects/retune-example/locations/europe-west4/workerPools/p" }
    nat                = true
    policy             = { gold = { base_url = "https://api.mistral.ai/v1", model = "voxtral-small-2507" }, budget = { max_usd = 50, prices = { g2-standard-8 = { spot = 0.4, standard = 1.1 } } } }
    registry_deletable = true
  }

  assert {
    condition     = toset([for grant in google_storage_bucket_iam_member.audio : grant.role]) == toset(["roles/storage.objectViewer"]) && toset(keys(google_storage_bucket_iam_member.audio)) == toset(["calls/launcher", "calls/sweeper", "calls/trainer"])
    error_message = "Audio: expected launcher, sweeper and trainer to read it, and nobody to write it."
  }
  assert {
    condition     = join(",", local.audio_prefixes) == "gs://calls/"
    error_message = "Audio: expected only the named buckets as allowed prefixes."
  }
  assert {
    condition     = toset([for grant in google_kms_crypto_key_iam_member.agents : grant.role]) == toset(["roles/cloudkms.cryptoKeyEncrypterDecrypter"]) && length(google_kms_crypto_key_iam_member.storage) == 1 && google_secret_manager_secret.llm_key.replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name == var.kms_key && google_artifact_registry_repository.functions.kms_key_name == var.kms_key
    error_message = "Customer's key: expected the agents that encrypt to use it, and what is stored to be encrypted with it."
  }
  assert {
    condition     = contains([for service in google_project_service.this : service.service], "billingbudgets.googleapis.com") && contains([for service in google_project_service.this : service.service], "cloudkms.googleapis.com")
    error_message = "Services: expected those of the budget and the key where they are asked for."
  }
  assert {
    condition     = !strcontains(join("\n", output.next_steps), "trainer_image") && strcontains(join("\n", output.next_steps), "gcloud secrets versions add")
    error_message = "Next steps: expected what is missing and nothing else."
  }
  assert {
    condition     = module.store.deletable
    error_message = "Registry: expected the first telling to reach the bucket."
  }
  assert {
    condition     = jsondecode(output.environment.RETUNE_POLICY).budget.prices["g2-standard-8"].spot == 0.4
    error_message = "Prices: expected the functions to be handed the table."
  }
}
