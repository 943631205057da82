variable "project_id" {
  description = "Project of its account."
  type        = string
}

variable "name" {
  description = "Name of the function; a folder of functions/."
  type        = string
}

variable "description" {
  description = "What it does, in one sentence."
  type        = string
}

variable "region" {
  description = "Where it runs."
  type        = string
}

variable "sources" {
  description = "Files of the repository that it consists of: their paths, as they stand in the zip, and the folder that these start from."
  type = object({
    root  = string
    paths = list(string)
  })
}

variable "made" {
  description = "Path in the zip -> text of what is made for it: main.py and requirements.txt."
  type        = map(string)
}

variable "bucket" {
  description = "Bucket of the sources."
  type        = string
}

variable "source_folder" {
  description = "Folder of the sources in it, with its slash."
  type        = string
}

variable "build" {
  description = "Who builds it, into which repository, in which private pool (null = Google's)."
  type = object({
    service_account = string
    repository      = string
    worker_pool     = string
  })
}

variable "size" {
  description = "Time-out and machine of one instance, requests at once, instances at most."
  type = object({
    timeout_s     = number
    memory        = string
    cpu           = string
    concurrency   = number
    max_instances = number
  })

  validation {
    condition     = var.size.timeout_s <= 540
    error_message = "size.timeout_s: expected at most 540: an ack deadline ends at 600 s and must outlast the function."
  }
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variable -> name of the secret that fills it; its newest version when an instance starts."
  type        = map(string)
  default     = {}
}

variable "invoker" {
  description = "Who may call it: the account of Pub/Sub's pushes alone, or IAP's."
  type        = string
}

variable "ingress" {
  description = "From where it may be called: Pub/Sub of this project counts as internal, the internet does not; people come from anywhere."
  type        = string
  default     = "ALLOW_INTERNAL_ONLY"

  validation {
    condition     = contains(["ALLOW_INTERNAL_ONLY", "ALLOW_ALL"], var.ingress)
    error_message = "ingress: expected ALLOW_INTERNAL_ONLY, or ALLOW_ALL for people."
  }
}

variable "vpc_connector" {
  description = "Connector through which it reaches Google; null = straight."
  type        = string
}

variable "kms_key" {
  description = "Key of its image and source; empty = Google's."
  type        = string
}
