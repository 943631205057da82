# Which function reads and publishes what, and how large it is. The tables of functions/wiring.py, held together by a test.
locals {
  functions = merge({
    collector = {
      description = "Makes what production reports durable and sees when a threshold is crossed."
      reads       = ["stt-errors"]
      publishes   = ["finetune-triggers"]
      size        = { timeout_s = 60, memory = "512Mi", cpu = "1", concurrency = 80, max_instances = 20 }
      # Many requests at once: concurrent reports share one write, and that is what makes them cheap. They wait on an event loop, not in threads.
      environment = {}
    }
    launcher = {
      description = "Opens cycles, seals their data and starts trainers."
      reads       = ["finetune-triggers", "training-events"]
      publishes   = []
      size        = { timeout_s = 540, memory = "1Gi", cpu = "1", concurrency = 1, max_instances = 3 }
      environment = local.trainer_environment
    }
    validator = {
      description = "Decides whether a trained model is really better."
      reads       = ["training-events"]
      publishes   = ["validation-events"]
      size        = { timeout_s = 540, memory = "4Gi", cpu = "2", concurrency = 1, max_instances = 2 }
      environment = {}
    }
    deployer = {
      description = "Moves the production alias, alone."
      reads       = ["model-commands", "validation-events"]
      publishes   = ["model-events"]
      size        = { timeout_s = 120, memory = "512Mi", cpu = "1", concurrency = 1, max_instances = 3 }
      environment = {}
    }
    sweeper = {
      description = "Carries on what stands still, every minute."
      reads       = ["ticks"]
      publishes   = ["finetune-triggers", "model-commands", "model-events", "training-events", "validation-events"]
      size        = { timeout_s = 540, memory = "1Gi", cpu = "1", concurrency = 1, max_instances = 2 }
      environment = local.trainer_environment
    }
  }, { for name, function in local.optional_functions : name => function if name != "notifier" || var.webhooks_secret != "" }, local.console)

  optional_functions = {
    notifier = {
      description = "Tells people of verdicts, deployments and rollbacks."
      reads       = ["model-events", "validation-events"]
      publishes   = []
      size        = { timeout_s = 120, memory = "512Mi", cpu = "1", concurrency = 1, max_instances = 1 }
      environment = {}
    }
  }

  # Variable -> secret that a function finds in its environment.
  secrets = { notifier = { RETUNE_WEBHOOKS = var.webhooks_secret } }

  topics = toset(concat(["model-events"], flatten([for function in values(local.functions) : function.reads])))

  # An operator starts, approves and rolls back with the commands, and publishes dead letters again to where they came from.
  topic_publishers = {
    for topic in local.topics : topic => merge(
      { for name, function in local.functions : name => local.accounts[name] if contains(function.publishes, topic) },
      topic == "training-events" ? { trainer = local.accounts.trainer } : {},
      topic == "stt-errors" ? { for member in var.publishers : member => member } : {},
      contains(["model-events", "ticks"], topic) ? {} : { for member in var.operators : member => member },
    )
  }

  accounts = merge(
    { for name, function in module.function : name => "serviceAccount:${function.email}" },
    { trainer = "serviceAccount:${module.trainer.email}" },
  )

  push_email  = "${google_service_account.push.account_id}@${var.project_id}.iam.gserviceaccount.com"
  build_email = "${google_service_account.build.account_id}@${var.project_id}.iam.gserviceaccount.com"
}

module "topic" {
  source   = "./modules/topic"
  for_each = local.topics

  name       = each.key
  region     = var.region
  publishers = local.topic_publishers[each.key]
  readers = {
    for name, function in local.functions : name => { uri = module.function[name].uri, timeout_s = function.size.timeout_s }
    if contains(function.reads, each.key)
  }
  operators    = var.operators
  push_account = local.push_email
  pubsub_agent = local.pubsub_agent
  kms_key      = local.usable_kms_key

  depends_on = [google_project_service.this]
}

# Production hears of new models through subscriptions of its own, one for each process: it may attach them to this topic alone.
resource "google_pubsub_topic_iam_member" "listener" {
  for_each = var.publishers

  topic  = element(split("/", module.topic["model-events"].id), 3)
  role   = "roles/pubsub.subscriber"
  member = each.key
}

resource "google_service_account" "push" {
  account_id   = "retune-push"
  display_name = "Retune push"
  description  = "Signs Pub/Sub's pushes; may call the functions and nothing else."
  depends_on   = [google_project_service.this]
}

# Projects made before April 2021 do not let Pub/Sub sign as this account by themselves.
resource "google_service_account_iam_member" "push_signer" {
  service_account_id = google_service_account.push.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = local.pubsub_agent
}

resource "google_cloud_scheduler_job" "tick" {
  name        = "retune-tick"
  description = "A minute has passed: the sweeper looks after everything."
  region      = var.region
  schedule    = "* * * * *"
  time_zone   = "Etc/UTC"

  pubsub_target {
    topic_name = module.topic["ticks"].id
    data       = base64encode("{}") # id and time are those of the message
    attributes = { type = "Tick", v = "1" }
  }
}
