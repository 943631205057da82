variable "project_id" {
  description = "Project of the custom roles."
  type        = string
}

variable "name" {
  description = "Name of the bucket."
  type        = string
}

variable "location" {
  description = "Region of the bucket."
  type        = string
}

variable "folders" {
  description = "Top folders, without a slash."
  type        = set(string)
}

variable "access" {
  description = "Principal -> top folder -> verbs of get, list, create, delete."
  type        = map(map(list(string)))

  validation {
    condition = alltrue(flatten([
      for folders in values(var.access) : [for verbs in values(folders) : [for verb in verbs : contains(["get", "list", "create", "delete"], verb)]]
    ]))
    error_message = "access: expected verbs of get, list, create, delete."
  }
}

variable "members" {
  description = "Principal -> name that is known at plan -> member that holds its grants."
  type        = map(map(string))
}

variable "custom_role_stem" {
  description = "First part of the custom roles' ids."
  type        = string
}

variable "kms_key" {
  description = "Key of the bucket; empty = Google's."
  type        = string
}

variable "deletable" {
  description = "Whether a destroy deletes the bucket with its objects."
  type        = bool
}
