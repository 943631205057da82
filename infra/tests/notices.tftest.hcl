# With a secret of webhooks there is a notifier that reads it; without one there is none (default.tftest.hcl).

mock_provider "google" {}

mock_provider "archive" {}

variables {
  project_id      = "retune-example"
  region          = "europe-west4"
  webhooks_secret = "retune-webhooks"
}

run "notices" {
  command = plan

  assert {
    condition     = contains(keys(module.function), "notifier") && contains(flatten([for topic in module.topic : topic.subscriptions]), "notifier-model-events") && contains(flatten([for topic in module.topic : topic.subscriptions]), "notifier-validation-events")
    error_message = "Notifier: expected it to hear of verdicts and of every move of the alias."
  }
  assert {
    condition     = local.secrets["notifier"] == { RETUNE_WEBHOOKS = "retune-webhooks" } && alltrue([for name in keys(local.functions) : name == "notifier" || length(lookup(local.secrets, name, {})) == 0])
    error_message = "Webhooks: expected their secret in the notifier and in no other function."
  }
  assert {
    condition     = local.functions["notifier"].publishes == []
    error_message = "Notifier: expected it to publish nothing."
  }
  assert {
    condition     = local.account_access["notifier"] == { quarantine = ["create", "get", "list"], verdicts = ["get", "list"] }
    error_message = "Notifier: expected it to read verdicts and to write nothing but what it refuses."
  }
}

run "the_content_is_no_name" {
  command = plan

  variables {
    webhooks_secret = "https://hooks.example/secret"
  }

  expect_failures = [var.webhooks_secret]
}
