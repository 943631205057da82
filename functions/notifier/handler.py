"""The notifier: one event in, a notice out to each webhook. At least once: a receiver knows a repetition by its event_id."""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from functions.notifier.notices import SIGNATURE, TOLD, Notice, json_body, notice_of, signature, slack_body
from functions.notifier.webhooks import Webhook, WebhookRefused, post
from shared import keys
from shared.bus import Message
from shared.cas import find
from shared.documents import sha256_hex
from shared.errors import CorruptObject, Retryable
from shared.events import Event, Judged
from shared.log import bind, log
from shared.messages import parse_event
from shared.objectstore import ObjectStore
from shared.verdict import ValidationReport, parse_report

Post = Callable[[Webhook, bytes, Mapping[str, str]], None]
REMEMBERED = 1000


class Notifier:
    """Handles `validation-events` and `model-events`."""

    def __init__(self, store: ObjectStore, webhooks: tuple[Webhook, ...], send: Post = post) -> None:
        self._store = store
        self._webhooks = webhooks
        self._send = send
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Who was told of what by this instance: one webhook that is away must not have the others told again each time."""

    def __call__(self, message: Message) -> str:
        """Tell every webhook; return what came of it.

        Raises:
            InvalidMessage: the event can never be told.
            Retryable: a webhook was not told; those that were are not told again by this instance.
        """
        event = parse_event(message, expect=TOLD)
        bind(event_id=event.event_id)
        notice = notice_of(event, self._report(event) if isinstance(event, Judged) else None)
        if notice is None or not self._webhooks:
            return "nobody is told" if notice else "nothing to tell"
        outcomes = [self._tell(webhook, notice, event) for webhook in self._webhooks]
        if late := [outcome for outcome in outcomes if isinstance(outcome, Retryable)]:
            raise late[0]
        return f"told {sum(outcome is None for outcome in outcomes)} of {len(self._webhooks)}: {notice.title}"

    def _report(self, event: Judged) -> ValidationReport | None:
        found = find(self._store, keys.report(event.cycle))
        if found is None or sha256_hex(found.data) != event.report_sha256:
            return None
        try:
            return parse_report(found.data)
        except CorruptObject as error:
            log(f"told without numbers: {error}", severity="WARNING")
            return None

    def _tell(self, webhook: Webhook, notice: Notice, event: Event) -> Retryable | WebhookRefused | None:
        known = (notice.event_id, webhook.url)
        if known in self._told:
            return None
        body = slack_body(notice) if webhook.form == "slack" else json_body(notice, event)
        headers = {} if webhook.secret is None else {SIGNATURE: signature(webhook.secret, body)}
        try:
            self._send(webhook, body, headers)
        except Retryable as error:
            return error
        except WebhookRefused as error:
            log(str(error), severity="ERROR")
            return error
        self._told[known] = None
        while len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        return None
