"""What crosses a boundary of the privacy platform: events, topics and systems, and nothing else."""

from privacy_contracts.accesses import OperatorActed, PersonalDataAccessed
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
    RequestReceived,
    RequestVerified,
    RequestWithdrawn,
    SystemEscalated,
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
        DeletionConfirmed,
        DeletionRequested,
        SystemEscalated,
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
    )
}
"""Every event by its CloudEvents type."""

__all__ = ["EVENTS", "Event"]
