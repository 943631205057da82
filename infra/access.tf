# Who may do what in which top folder of the bucket. Architecture: one folder per writer.
#
# `get` without `list` would answer 403 instead of 404 for an object that is not there yet, so they go together. To replace an
# object, conditionally or not, is to create and to delete; whoever only creates cannot replace.
locals {
  read   = ["get", "list"]
  append = ["create", "get", "list"]
  change = ["create", "delete", "get", "list"]

  folders = toset(["corpora", "cycles", "ledger", "models", "quarantine", "registry", "runs", "source", "verdicts"])

  account_access = {
    collector = { cycles = local.read, ledger = local.append, quarantine = local.append, registry = local.read }
    launcher = {
      corpora    = local.append # the split key, the holdout and its audio
      cycles     = local.change
      ledger     = local.read
      models     = local.read
      quarantine = local.append
      registry   = local.read
      runs       = local.read
      verdicts   = local.read
    }
    sweeper = {                 # carries on what the launcher left, by the same code
      corpora    = local.change # what versions fixed: the suite of fixed errors, the memory, the marks of both
      cycles     = local.change
      ledger     = local.change # compaction and garbage
      models     = local.read
      quarantine = local.append
      registry   = local.read
      runs       = local.read
      verdicts   = local.read
    }
    validator = { cycles = local.change, models = local.read, quarantine = local.append, runs = local.read, verdicts = local.append }
    deployer = {
      corpora    = local.read # what became of a digest when somebody was forgotten
      cycles     = local.change
      models     = local.read
      quarantine = local.append
      registry   = local.change # alone
      verdicts   = local.read
    }
    notifier = {
      quarantine = local.append
      verdicts   = local.read
    }
    trainer = { corpora = local.read, cycles = local.change, models = local.append, runs = local.change }
  }

  readable = setsubtract(local.folders, ["source"])
  people_access = {
    publishers = { models = local.read, registry = local.read }
    operators  = { for folder in local.readable : folder => local.read }
    keepers    = { for folder in local.readable : folder => folder == "registry" ? local.read : local.change }
  }
  people = { publishers = var.publishers, operators = var.operators, keepers = var.keepers }
}

module "store" {
  source = "./modules/store"

  name             = "${var.project_id}-retune-${var.environment}"
  location         = var.region
  folders          = local.folders
  kms_key          = local.usable_kms_key
  deletable        = var.registry_deletable
  custom_role_stem = "retune"
  project_id       = var.project_id
  access = merge(
    { for name, folders in local.account_access : name => folders if contains(keys(local.accounts), name) },
    local.console_access,
    local.people_access,
  )
  members = merge(
    { for name, member in local.accounts : name => { (name) = member } },
    { for group, members in local.people : group => { for member in members : "${group}:${member}" => member } },
  )

  depends_on = [google_project_service.this]
}

# The audio of calls lies in buckets of others: read, nothing else.
resource "google_storage_bucket_iam_member" "audio" {
  for_each = merge([
    for bucket in var.audio_buckets : merge(
      { for name in concat(["launcher", "sweeper", "trainer"], keys(local.console)) : "${bucket}/${name}" => { bucket = bucket, member = local.accounts[name] } },
      { for member in var.keepers : "${bucket}/${member}" => { bucket = bucket, member = member } },
    )
  ]...)

  bucket = each.value.bucket
  role   = "roles/storage.objectViewer"
  member = each.value.member
}
