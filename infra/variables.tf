variable "project_id" {
  description = "Google Cloud project, with a billing account."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id: expected the project's id (6 to 30 lower-case letters, digits, hyphens), not its name or number."
  }
}

variable "region" {
  description = "Where everything runs and lies; it needs the GPU of trainer_machines."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+(-[a-z]+)+[0-9]+$", var.region))
    error_message = "region: expected a region as europe-west4, not a zone or a multi-region."
  }
}

variable "environment" {
  description = "Goes into labels and the bucket's name; one project holds one environment, since topics have fixed names."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,14}$", var.environment))
    error_message = "environment: expected up to 15 lower-case letters, digits and hyphens."
  }
}

variable "trainer_image" {
  description = "Digest reference of the trainer's image; while it is empty the launcher declines and names the build command."
  type        = string
  default     = ""

  validation {
    condition     = var.trainer_image == "" || can(regex("^[^\\s@]+@sha256:[0-9a-f]{64}$", var.trainer_image))
    error_message = "trainer_image: expected IMAGE@sha256:DIGEST, since a tag may mean other code tomorrow. The build prints it."
  }
}

variable "webhooks_secret" {
  description = "Secret of Secret Manager, made beforehand, that holds a JSON list of webhooks for verdicts, deployments and rollbacks; empty = no notifier."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{0,255}$", var.webhooks_secret))
    error_message = "webhooks_secret: expected the name of a secret of this project, not its content."
  }
}

variable "traces" {
  description = "Send spans of functions and trainers to Cloud Trace: one trace a cycle, from the error to the deployment."
  type        = bool
  default     = false
  nullable    = false
}

variable "trainer_launcher" {
  description = "What runs the trainer: compute_engine (Spot VMs, resumes over hours) or cloud_run (jobs with a GPU, bounded by their task time-out)."
  type        = string
  default     = "compute_engine"

  validation {
    condition     = contains(["compute_engine", "cloud_run"], var.trainer_launcher)
    error_message = "trainer_launcher: expected compute_engine or cloud_run."
  }
}

variable "trainer_machines" {
  description = "Machines tried in this order, each in all of its zones; no zones = REGION-a, -b, -c (-b, -c, -d in us-east1 and europe-west1)."
  type = list(object({
    machine_type = string
    provisioning = string
    zones        = optional(list(string), [])
  }))
  default = [
    { machine_type = "g2-standard-8", provisioning = "spot" },
    { machine_type = "g2-standard-8", provisioning = "standard" },
  ]

  validation {
    condition     = length(var.trainer_machines) > 0
    error_message = "trainer_machines: expected at least one machine."
  }
  validation {
    condition     = alltrue([for machine in var.trainer_machines : contains(["spot", "standard"], machine.provisioning)])
    error_message = "trainer_machines: expected provisioning spot or standard."
  }
  validation {
    condition     = alltrue([for machine in var.trainer_machines : can(regex("^(g2|g4|a2|a3|a4)-", machine.machine_type))])
    error_message = "trainer_machines: expected machine types that bring their GPU (g2-, g4-, a2-, a3-, a4-)."
  }
  validation {
    condition = alltrue(flatten([
      for machine in var.trainer_machines : [for zone in machine.zones : can(regex("^${var.region}-[a-z]$", zone))]
    ]))
    error_message = "trainer_machines: expected zones of the region, since the machines' subnetwork lies in it alone."
  }
}

variable "nat" {
  description = "Give the trainer's network a way to the internet. Google's services are reached without; a public LLM endpoint needs it."
  type        = bool
  default     = false

  validation {
    # The name of a host outside of Google and of private networks cannot be reached from a machine without a public address.
    condition = (
      var.nat || var.trainer_launcher == "cloud_run" ? true :
      var.policy.gold == null ? true :
      can(regex("^https?://([a-z0-9.-]+\\.(googleapis\\.com|internal|local)|10\\.[0-9.]+|192\\.168\\.[0-9.]+)(:[0-9]+)?(/|$)", var.policy.gold.base_url))
    )
    error_message = "policy.gold.base_url is on the internet, which the trainer's machines cannot reach: set nat = true."
  }
}

variable "audio_buckets" {
  description = "Names of buckets with the calls' audio: launcher, sweeper, trainer and keepers may read them, and no other address is accepted."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.audio_buckets : can(regex("^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$", name))])
    error_message = "audio_buckets: expected names of buckets without gs:// and without a folder."
  }
}

variable "publishers" {
  description = "Production speech services (serviceAccount:...): they report errors, read the registry and hear of new models."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.publishers : can(regex("^(serviceAccount|group|principal|principalSet):", member))])
    error_message = "publishers: expected members as serviceAccount:stt@project.iam.gserviceaccount.com; never allUsers."
  }
}

variable "operators" {
  description = "People (user:..., group:...) who read everything, start cycles, promote, roll back and replay dead letters. They write no object."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount|principal|principalSet):", member))])
    error_message = "operators: expected members as user:ana@example.org or group:speech@example.org; never allUsers."
  }
}

variable "keepers" {
  description = "People who change stored data by hand: import a model, edit suites and replay, review gold, forget a person. Never the production alias."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.keepers : can(regex("^(user|group|serviceAccount|principal|principalSet):", member))])
    error_message = "keepers: expected members as user:ana@example.org or group:speech@example.org; never allUsers."
  }
}

variable "console_viewers" {
  description = "Who may look at the console, transcripts and recordings included, through IAP (user:ana@example.org, group:ml@example.org). Nobody here and in console_operators = there is no console."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.console_viewers : can(regex("^(user|group|domain):[^\\s]+$", member))])
    error_message = "console_viewers: expected user:ADDRESS, group:ADDRESS or domain:NAME, never everybody."
  }
}

variable "console_operators" {
  description = "Who may also act in the console: approve, cancel, promote, roll back, review gold. People one by one (user:ana@example.org): IAP names a person and not their groups. Empty = the console publishes nothing."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.console_operators : can(regex("^user:[^\\s,@]+@[^\\s,@]+$", member))])
    error_message = "console_operators: expected user:ADDRESS for each person; a group cannot be told from what IAP says."
  }
}

variable "alert_emails" {
  description = "Who is told of dead letters, failed and stuck cycles, rollbacks and the budget."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", address))])
    error_message = "alert_emails: expected addresses as ana@example.org."
  }
}

variable "billing_account" {
  description = "Billing account (XXXXXX-XXXXXX-XXXXXX) for a budget on this project; empty = no budget."
  type        = string
  default     = ""

  validation {
    condition     = var.billing_account == "" || can(regex("^[0-9A-F]{6}(-[0-9A-F]{6}){2}$", var.billing_account))
    error_message = "billing_account: expected XXXXXX-XXXXXX-XXXXXX, as `gcloud billing accounts list` prints it."
  }
}

variable "monthly_budget" {
  description = "Amount of that budget, in the billing account's currency."
  type        = number
  default     = 200

  validation {
    condition     = var.monthly_budget >= 1 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget: expected a whole number of at least 1."
  }
}

variable "kms_key" {
  description = "Customer-managed key (projects/P/locations/REGION/keyRings/R/cryptoKeys/K) for bucket, topics, functions, images and the secret; empty = Google's keys."
  type        = string
  default     = ""

  validation {
    condition     = var.kms_key == "" || can(regex("^projects/[^/]+/locations/${var.region}/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key))
    error_message = "kms_key: expected the full name of a key in the region of everything else."
  }
}

variable "perimeter" {
  description = "Inside a VPC Service Controls perimeter: the connector through which functions reach Google, and a private pool that builds them."
  type = object({
    vpc_connector = string
    worker_pool   = string
  })
  default = null
}

variable "registry_deletable" {
  description = "First of two tellings before a destroy may delete the bucket with all models: apply with true, then destroy with true."
  type        = bool
  default     = false
}
