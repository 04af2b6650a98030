"""AsyncAPI 3.0 documents: what a principal sends and receives, from the topology and the events' schemas."""

from typing import Any

from privacy_contracts import EVENTS, topology
from privacy_contracts.generate import schema

_ALWAYS = ("ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "content-type")


def document(principal: str) -> dict[str, Any]:
    """One principal's document. Topics stand without the deployment's prefix; no servers are named."""
    found = topology.topics().values()
    mine = [topic for topic in found if principal in {topic.writer, *topic.readers}]
    events = {name for topic in mine for name in _events(topic)}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": principal, "version": "1", "description": "CloudEvents 1.0 over Kafka, in binary mode."},
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in mine},
        "operations": {
            f"{action}.{topic.name}": {"action": action, "channel": {"$ref": f"#/channels/{topic.name}"}}
            for topic in mine
            for action, who in (("send", {topic.writer}), ("receive", set(topic.readers)))
            if principal in who
        },
        "components": {"messages": {name: _message(name) for name in sorted(events)}},
    }


def _events(topic: topology.Topic) -> list[str]:
    """The types that may stand on a topic: those of its stream."""
    return [name for name, event in EVENTS.items() if event.stream == topic.name.partition(".")[0]]


def _channel(topic: topology.Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"Keyed by {topic.key}; written by {topic.writer} alone.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _events(topic)},
    }


def _message(name: str) -> dict[str, Any]:
    headers = {
        "type": "object",
        "required": list(_ALWAYS),
        "properties": {each: {"type": "string"} for each in (*_ALWAYS, "ce_sequence", "traceparent")}
        | {"ce_type": {"const": name}},
    }
    return {"name": name, "headers": headers, "payload": _payload(schema(EVENTS[name]), name)}


def _payload(value: Any, name: str) -> Any:
    """A schema that stands inside a document: references to its own definitions start at the document's root."""
    if isinstance(value, list):
        return [_payload(each, name) for each in value]
    if not isinstance(value, dict):
        return value
    inside = {key: _payload(each, name) for key, each in value.items() if key != "$schema"}
    if str(inside.get("$ref", "")).startswith("#/$defs/"):
        inside["$ref"] = inside["$ref"].replace("#/$defs/", f"#/components/messages/{name}/payload/$defs/")
    return inside
