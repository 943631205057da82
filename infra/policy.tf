# Made by `make policy` from shared/policy.py, which says what each number means.

variable "policy" {
  description = "The operator's numbers: when to train, on how much, what may be deployed without asking."
  type = object({
    min_error_cases         = optional(number, 100)
    min_corrected_cases     = optional(number, 50)
    trigger_on_error_rate   = optional(bool, false)
    error_rate_threshold    = optional(number, 0.15)
    max_age_s               = optional(number)
    auto_approve_finetuning = optional(bool, false)
    auto_deploy             = optional(bool, false)
    cooldown_s              = optional(number, 3600)
    min_trainable_clips     = optional(number, 10)
    min_speakers            = optional(number, 2)
    min_audio               = optional(number, 10)
    min_detectable_gain     = optional(number, 0.25)
    budget = optional(object({
      max_gpu_hours    = optional(number)
      max_usd          = optional(number)
      usd_per_gpu_hour = optional(number)
      prices           = optional(map(map(number)), {})
      period_days      = optional(number, 30)
    }), {})
    max_attempts        = optional(number, 3)
    spot_attempts       = optional(number, 2)
    max_attempt_s       = optional(number, 43200)
    preparing_lease_s   = optional(number, 900)
    heartbeat_timeout_s = optional(number, 300)
    decline_backoff_s   = optional(number, 300)
    dev_share           = optional(number, 0.15)
    holdout_share       = optional(number, 0.2)
    holdout_cap         = optional(number, 3000)
    keep_models         = optional(number, 10)
    judge_on_llm_gold   = optional(bool, false)
    validation = optional(object({
      alpha             = optional(number, 0.05)
      min_relative_gain = optional(number, 0)
      suites = optional(map(object({
        margin = optional(number)
      })), {})
      suites_stand_for_traffic = optional(bool, false)
      max_failure_rise         = optional(number, 0.01)
      critical_terms           = optional(list(string), [])
      max_latency_ratio        = optional(number, 1.5)
      max_size_ratio           = optional(number, 2.5)
    }), {})
    canary = optional(object({
      percent        = optional(number)
      margin         = optional(number, 0.2)
      alpha          = optional(number, 0.05)
      min_utterances = optional(number, 200)
      session_s      = optional(number, 600)
      min_duration_s = optional(number, 3600)
      max_duration_s = optional(number, 86400)
      on_deadline    = optional(string, "rollback")
      on_silence     = optional(string, "rollback")
      guard_s        = optional(number, 86400)
      guard_margin   = optional(number, 0.5)
    }), {})
    training = optional(object({
      seed          = optional(number, 0)
      method        = optional(string, "lora")
      epochs        = optional(number, 12)
      batch_size    = optional(number, 8)
      max_batch_s   = optional(number, 160)
      learning_rate = optional(number)
      warmup_ratio  = optional(number, 0.1)
      weight_decay  = optional(number, 0)
      max_grad_norm = optional(number, 1)
      replay_ratio  = optional(number, 1)
      lora = optional(object({
        rank       = optional(number, 16)
        alpha      = optional(number, 32)
        dropout    = optional(number, 0.05)
        top_layers = optional(number)
      }), {})
      precision              = optional(string, "auto")
      feature_cache          = optional(string, "auto")
      gradient_checkpointing = optional(bool, false)
      patience               = optional(number, 4)
      average_checkpoints    = optional(number, 1)
      spec_augment = optional(object({
        time_share    = optional(number, 0.05)
        time_frames   = optional(number, 10)
        channel_share = optional(number, 0)
        channel_width = optional(number, 16)
      }))
      augmentation = optional(object({
        share         = optional(number, 0.5)
        noise         = optional(bool, true)
        equalise      = optional(bool, true)
        reverb_rt60_s = optional(tuple([number, number]))
      }))
      max_train_s           = optional(number)
      checkpoint_interval_s = optional(number, 300)
      lambdas               = optional(list(number), [1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
      clean_margin          = optional(number, 0.005)
      min_duration_s        = optional(number, 0.25)
      max_duration_s        = optional(number, 30)
      max_chars_per_s       = optional(number, 40)
      sampling_rate_hz      = optional(number, 16000)
      language              = optional(string)
    }), {})
    gold = optional(object({
      kind              = optional(string, "chat")
      base_url          = string
      model             = string
      api_key_env       = optional(string, "RETUNE_LLM_API_KEY")
      send_audio        = optional(bool, false)
      language          = optional(string)
      terms             = optional(list(string), [])
      samples           = optional(number, 3)
      min_agreement     = optional(number, 0.6)
      temperature       = optional(number, 0.7)
      max_answer_tokens = optional(number, 512)
      concurrency       = optional(number, 8)
      timeout_s         = optional(number, 60)
      tries             = optional(number, 5)
      budget = optional(object({
        max_tokens                    = optional(number)
        max_usd                       = optional(number)
        usd_per_million_input_tokens  = optional(number, 0)
        usd_per_million_output_tokens = optional(number, 0)
        usd_per_audio_minute          = optional(number, 0)
      }), {})
    }))
  })
  default = {}

  validation {
    condition     = var.policy.min_error_cases >= 1 && floor(var.policy.min_error_cases) == var.policy.min_error_cases
    error_message = "policy.min_error_cases: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.min_corrected_cases >= 1 && floor(var.policy.min_corrected_cases) == var.policy.min_corrected_cases
    error_message = "policy.min_corrected_cases: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.error_rate_threshold >= 0 && var.policy.error_rate_threshold <= 1
    error_message = "policy.error_rate_threshold: expected >= 0, <= 1."
  }

  validation {
    condition     = var.policy.max_age_s == null ? true : (var.policy.max_age_s > 0)
    error_message = "policy.max_age_s: expected > 0."
  }

  validation {
    condition     = var.policy.cooldown_s >= 0
    error_message = "policy.cooldown_s: expected >= 0."
  }

  validation {
    condition     = var.policy.min_trainable_clips >= 1 && floor(var.policy.min_trainable_clips) == var.policy.min_trainable_clips
    error_message = "policy.min_trainable_clips: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.min_speakers >= 1 && floor(var.policy.min_speakers) == var.policy.min_speakers
    error_message = "policy.min_speakers: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.min_audio >= 1 && floor(var.policy.min_audio) == var.policy.min_audio
    error_message = "policy.min_audio: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.min_detectable_gain > 0 && var.policy.min_detectable_gain <= 1
    error_message = "policy.min_detectable_gain: expected > 0, <= 1."
  }

  validation {
    condition     = var.policy.budget.max_gpu_hours == null ? true : (var.policy.budget.max_gpu_hours > 0)
    error_message = "policy.budget.max_gpu_hours: expected > 0."
  }

  validation {
    condition     = var.policy.budget.max_usd == null ? true : (var.policy.budget.max_usd > 0)
    error_message = "policy.budget.max_usd: expected > 0."
  }

  validation {
    condition     = var.policy.budget.usd_per_gpu_hour == null ? true : (var.policy.budget.usd_per_gpu_hour > 0)
    error_message = "policy.budget.usd_per_gpu_hour: expected > 0."
  }

  validation {
    condition     = alltrue([for name0, each0 in var.policy.budget.prices : length(each0) >= 1 && alltrue([for name1, each1 in each0 : contains(["spot", "standard"], name1) && each1 > 0])])
    error_message = "policy.budget.prices: expected each at least 1, names spot or standard, > 0."
  }

  validation {
    condition     = var.policy.budget.period_days > 0
    error_message = "policy.budget.period_days: expected > 0."
  }

  validation {
    condition     = var.policy.max_attempts >= 1 && var.policy.max_attempts <= 20 && floor(var.policy.max_attempts) == var.policy.max_attempts
    error_message = "policy.max_attempts: expected >= 1, <= 20, whole."
  }

  validation {
    condition     = var.policy.spot_attempts >= 0 && var.policy.spot_attempts <= 20 && floor(var.policy.spot_attempts) == var.policy.spot_attempts
    error_message = "policy.spot_attempts: expected >= 0, <= 20, whole."
  }

  validation {
    condition     = var.policy.max_attempt_s >= 600 && var.policy.max_attempt_s <= 604800
    error_message = "policy.max_attempt_s: expected >= 600, <= 604800."
  }

  validation {
    condition     = var.policy.preparing_lease_s > 0
    error_message = "policy.preparing_lease_s: expected > 0."
  }

  validation {
    condition     = var.policy.heartbeat_timeout_s > 0
    error_message = "policy.heartbeat_timeout_s: expected > 0."
  }

  validation {
    condition     = var.policy.decline_backoff_s >= 0
    error_message = "policy.decline_backoff_s: expected >= 0."
  }

  validation {
    condition     = var.policy.dev_share > 0 && var.policy.dev_share < 1
    error_message = "policy.dev_share: expected > 0, < 1."
  }

  validation {
    condition     = var.policy.holdout_share > 0 && var.policy.holdout_share < 1
    error_message = "policy.holdout_share: expected > 0, < 1."
  }

  validation {
    condition     = var.policy.holdout_cap >= 1 && floor(var.policy.holdout_cap) == var.policy.holdout_cap
    error_message = "policy.holdout_cap: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.keep_models >= 1 && floor(var.policy.keep_models) == var.policy.keep_models
    error_message = "policy.keep_models: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.validation.alpha > 0 && var.policy.validation.alpha < 0.5
    error_message = "policy.validation.alpha: expected > 0, < 0.5."
  }

  validation {
    condition     = var.policy.validation.min_relative_gain >= 0 && var.policy.validation.min_relative_gain <= 1
    error_message = "policy.validation.min_relative_gain: expected >= 0, <= 1."
  }

  validation {
    condition     = alltrue([for name0, each0 in var.policy.validation.suites : each0.margin == null ? true : (each0.margin > 0 && each0.margin <= 1)])
    error_message = "policy.validation.suites: expected each margin > 0, <= 1."
  }

  validation {
    condition     = var.policy.validation.max_failure_rise >= 0 && var.policy.validation.max_failure_rise <= 1
    error_message = "policy.validation.max_failure_rise: expected >= 0, <= 1."
  }

  validation {
    condition     = var.policy.validation.max_latency_ratio >= 1
    error_message = "policy.validation.max_latency_ratio: expected >= 1."
  }

  validation {
    condition     = var.policy.validation.max_size_ratio >= 1
    error_message = "policy.validation.max_size_ratio: expected >= 1."
  }

  validation {
    condition     = var.policy.canary.percent == null ? true : (var.policy.canary.percent >= 0 && var.policy.canary.percent <= 99 && floor(var.policy.canary.percent) == var.policy.canary.percent)
    error_message = "policy.canary.percent: expected >= 0, <= 99, whole."
  }

  validation {
    condition     = var.policy.canary.margin > 0 && var.policy.canary.margin <= 10
    error_message = "policy.canary.margin: expected > 0, <= 10."
  }

  validation {
    condition     = var.policy.canary.alpha > 0 && var.policy.canary.alpha < 0.5
    error_message = "policy.canary.alpha: expected > 0, < 0.5."
  }

  validation {
    condition     = var.policy.canary.min_utterances >= 1 && floor(var.policy.canary.min_utterances) == var.policy.canary.min_utterances
    error_message = "policy.canary.min_utterances: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.canary.session_s >= 0
    error_message = "policy.canary.session_s: expected >= 0."
  }

  validation {
    condition     = var.policy.canary.min_duration_s >= 0
    error_message = "policy.canary.min_duration_s: expected >= 0."
  }

  validation {
    condition     = var.policy.canary.max_duration_s > 0
    error_message = "policy.canary.max_duration_s: expected > 0."
  }

  validation {
    condition     = contains(["promote", "rollback"], var.policy.canary.on_deadline)
    error_message = "policy.canary.on_deadline: expected one of promote, rollback."
  }

  validation {
    condition     = contains(["promote", "rollback"], var.policy.canary.on_silence)
    error_message = "policy.canary.on_silence: expected one of promote, rollback."
  }

  validation {
    condition     = var.policy.canary.guard_s >= 0
    error_message = "policy.canary.guard_s: expected >= 0."
  }

  validation {
    condition     = var.policy.canary.guard_margin > 0 && var.policy.canary.guard_margin <= 10
    error_message = "policy.canary.guard_margin: expected > 0, <= 10."
  }

  validation {
    condition     = contains(["lora", "full"], var.policy.training.method)
    error_message = "policy.training.method: expected one of lora, full."
  }

  validation {
    condition     = var.policy.training.epochs >= 1 && var.policy.training.epochs <= 1000 && floor(var.policy.training.epochs) == var.policy.training.epochs
    error_message = "policy.training.epochs: expected >= 1, <= 1000, whole."
  }

  validation {
    condition     = var.policy.training.batch_size >= 1 && var.policy.training.batch_size <= 1024 && floor(var.policy.training.batch_size) == var.policy.training.batch_size
    error_message = "policy.training.batch_size: expected >= 1, <= 1024, whole."
  }

  validation {
    condition     = var.policy.training.max_batch_s > 0
    error_message = "policy.training.max_batch_s: expected > 0."
  }

  validation {
    condition     = var.policy.training.learning_rate == null ? true : (var.policy.training.learning_rate > 0)
    error_message = "policy.training.learning_rate: expected > 0."
  }

  validation {
    condition     = var.policy.training.warmup_ratio >= 0 && var.policy.training.warmup_ratio < 1
    error_message = "policy.training.warmup_ratio: expected >= 0, < 1."
  }

  validation {
    condition     = var.policy.training.weight_decay >= 0
    error_message = "policy.training.weight_decay: expected >= 0."
  }

  validation {
    condition     = var.policy.training.max_grad_norm > 0
    error_message = "policy.training.max_grad_norm: expected > 0."
  }

  validation {
    condition     = var.policy.training.replay_ratio >= 0
    error_message = "policy.training.replay_ratio: expected >= 0."
  }

  validation {
    condition     = var.policy.training.lora.rank >= 1 && var.policy.training.lora.rank <= 512 && floor(var.policy.training.lora.rank) == var.policy.training.lora.rank
    error_message = "policy.training.lora.rank: expected >= 1, <= 512, whole."
  }

  validation {
    condition     = var.policy.training.lora.alpha > 0
    error_message = "policy.training.lora.alpha: expected > 0."
  }

  validation {
    condition     = var.policy.training.lora.dropout >= 0 && var.policy.training.lora.dropout < 1
    error_message = "policy.training.lora.dropout: expected >= 0, < 1."
  }

  validation {
    condition     = var.policy.training.lora.top_layers == null ? true : (var.policy.training.lora.top_layers >= 1 && floor(var.policy.training.lora.top_layers) == var.policy.training.lora.top_layers)
    error_message = "policy.training.lora.top_layers: expected >= 1, whole."
  }

  validation {
    condition     = contains(["auto", "fp32", "bf16"], var.policy.training.precision)
    error_message = "policy.training.precision: expected one of auto, fp32, bf16."
  }

  validation {
    condition     = contains(["auto", "on", "off"], var.policy.training.feature_cache)
    error_message = "policy.training.feature_cache: expected one of auto, on, off."
  }

  validation {
    condition     = var.policy.training.patience == null ? true : (var.policy.training.patience >= 1 && floor(var.policy.training.patience) == var.policy.training.patience)
    error_message = "policy.training.patience: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.training.average_checkpoints >= 1 && var.policy.training.average_checkpoints <= 20 && floor(var.policy.training.average_checkpoints) == var.policy.training.average_checkpoints
    error_message = "policy.training.average_checkpoints: expected >= 1, <= 20, whole."
  }

  validation {
    condition     = var.policy.training.spec_augment == null ? true : (var.policy.training.spec_augment.time_share >= 0 && var.policy.training.spec_augment.time_share < 1)
    error_message = "policy.training.spec_augment.time_share: expected >= 0, < 1."
  }

  validation {
    condition     = var.policy.training.spec_augment == null ? true : (var.policy.training.spec_augment.time_frames >= 1 && floor(var.policy.training.spec_augment.time_frames) == var.policy.training.spec_augment.time_frames)
    error_message = "policy.training.spec_augment.time_frames: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.training.spec_augment == null ? true : (var.policy.training.spec_augment.channel_share >= 0 && var.policy.training.spec_augment.channel_share < 1)
    error_message = "policy.training.spec_augment.channel_share: expected >= 0, < 1."
  }

  validation {
    condition     = var.policy.training.spec_augment == null ? true : (var.policy.training.spec_augment.channel_width >= 1 && floor(var.policy.training.spec_augment.channel_width) == var.policy.training.spec_augment.channel_width)
    error_message = "policy.training.spec_augment.channel_width: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.training.augmentation == null ? true : (var.policy.training.augmentation.share > 0 && var.policy.training.augmentation.share <= 1)
    error_message = "policy.training.augmentation.share: expected > 0, <= 1."
  }

  validation {
    condition     = var.policy.training.max_train_s == null ? true : (var.policy.training.max_train_s > 0)
    error_message = "policy.training.max_train_s: expected > 0."
  }

  validation {
    condition     = var.policy.training.checkpoint_interval_s > 0
    error_message = "policy.training.checkpoint_interval_s: expected > 0."
  }

  validation {
    condition     = var.policy.training.clean_margin >= 0
    error_message = "policy.training.clean_margin: expected >= 0."
  }

  validation {
    condition     = var.policy.gold == null ? true : (contains(["chat", "transcription"], var.policy.gold.kind))
    error_message = "policy.gold.kind: expected one of chat, transcription."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.samples >= 1 && var.policy.gold.samples <= 20 && floor(var.policy.gold.samples) == var.policy.gold.samples)
    error_message = "policy.gold.samples: expected >= 1, <= 20, whole."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.min_agreement > 0 && var.policy.gold.min_agreement <= 1)
    error_message = "policy.gold.min_agreement: expected > 0, <= 1."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.temperature >= 0 && var.policy.gold.temperature <= 2)
    error_message = "policy.gold.temperature: expected >= 0, <= 2."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.max_answer_tokens >= 16 && floor(var.policy.gold.max_answer_tokens) == var.policy.gold.max_answer_tokens)
    error_message = "policy.gold.max_answer_tokens: expected >= 16, whole."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.concurrency >= 1 && var.policy.gold.concurrency <= 256 && floor(var.policy.gold.concurrency) == var.policy.gold.concurrency)
    error_message = "policy.gold.concurrency: expected >= 1, <= 256, whole."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.timeout_s > 0)
    error_message = "policy.gold.timeout_s: expected > 0."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.tries >= 1 && var.policy.gold.tries <= 20 && floor(var.policy.gold.tries) == var.policy.gold.tries)
    error_message = "policy.gold.tries: expected >= 1, <= 20, whole."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.budget.max_tokens == null ? true : (var.policy.gold.budget.max_tokens >= 1 && floor(var.policy.gold.budget.max_tokens) == var.policy.gold.budget.max_tokens))
    error_message = "policy.gold.budget.max_tokens: expected >= 1, whole."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.budget.max_usd == null ? true : (var.policy.gold.budget.max_usd > 0))
    error_message = "policy.gold.budget.max_usd: expected > 0."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.budget.usd_per_million_input_tokens >= 0)
    error_message = "policy.gold.budget.usd_per_million_input_tokens: expected >= 0."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.budget.usd_per_million_output_tokens >= 0)
    error_message = "policy.gold.budget.usd_per_million_output_tokens: expected >= 0."
  }

  validation {
    condition     = var.policy.gold == null ? true : (var.policy.gold.budget.usd_per_audio_minute >= 0)
    error_message = "policy.gold.budget.usd_per_audio_minute: expected >= 0."
  }
}
