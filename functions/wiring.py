"""Which function reads which topics: the stack, the tests and the infrastructure are built from this table."""

from shared.events import FINETUNE_TRIGGERS, MODEL_COMMANDS, MODEL_EVENTS, STT_ERRORS, TICKS, TRAINING_EVENTS, VALIDATION_EVENTS

READS: dict[str, tuple[str, ...]] = {
    "collector": (STT_ERRORS,),
    "launcher": (FINETUNE_TRIGGERS, TRAINING_EVENTS),
    "validator": (TRAINING_EVENTS,),
    "deployer": (VALIDATION_EVENTS, MODEL_COMMANDS),
    "sweeper": (TICKS,),
}
OPTIONAL: dict[str, tuple[str, ...]] = {"notifier": (VALIDATION_EVENTS, MODEL_EVENTS)}
"""Functions that run only where somebody asked for them: the notifier where webhooks are set."""

CONSOLE = "dashboard"
"""The function that answers people's browsers and reads no topic."""

MAX_DELIVERY_ATTEMPTS = 100
"""An outage must not dead-letter good events."""

MIN_BACKOFF_S = 10.0
MAX_BACKOFF_S = 600.0


def subscription_name(function: str, topic: str) -> str:
    """Return the name of a function's push subscription."""
    return f"{function}-{topic}"


def subscriptions() -> dict[str, str]:
    """Return every function's subscription and the topic that it reads."""
    return {subscription_name(function, topic): topic for function, topics in {**READS, **OPTIONAL}.items() for topic in topics}


def dead_letter_topic(subscription: str) -> str:
    """Return the topic of what a subscription's function refused too often."""
    return f"{subscription}-dead"
