"""What crosses a boundary of the privacy platform: events, topics and systems, and nothing else."""

from privacy_contracts.accesses import OperatorActed, PersonalDataAccessed, ServiceRecovered
from privacy_contracts.accounts import AccountDeleted, AccountStated, Heartbeat
from privacy_contracts.consent import ConsentChanged, DisclosureDecided
from privacy_contracts.disclosures import DisclosureRefused, PersonalDataDisclosed
from privacy_contracts.envelope import Event
from privacy_contracts.notices import NoticeCompleted, NoticeFailed, NoticePosted, NoticeSent
from privacy_contracts.policy import PolicyRevised
from privacy_contracts.replies import ReplyDone, ReplyFailed, ReplyNotFound, ReplyRetained
from privacy_contracts.requests import (
    DeletionConfirmed,
    DeletionRequested,
    RequestClosed,
    RequestMatched,
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
    SystemEscalated,
    SystemLeftOutstanding,
)

EVENTS: dict[str, type[Event]] = {
    event.type: event
    for event in (
        AccountStated,
        AccountDeleted,
        Heartbeat,
        PolicyRevised,
        ConsentChanged,
        DisclosureDecided,
        RequestReceived,
        RequestVerified,
        RequestMatched,
        DeletionConfirmed,
        DeletionRequested,
        SystemEscalated,
        SystemLeftOutstanding,
        RequestWithdrawn,
        RequestClosed,
        ReplyDone,
        ReplyRetained,
        ReplyNotFound,
        ReplyFailed,
        NoticeSent,
        NoticeFailed,
        NoticePosted,
        NoticeCompleted,
        PersonalDataDisclosed,
        DisclosureRefused,
        PersonalDataAccessed,
        OperatorActed,
        ServiceRecovered,
    )
}
"""Every event by its CloudEvents type."""

__all__ = ["EVENTS", "Event"]
