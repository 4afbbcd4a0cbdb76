// Package inputtransform makes what a target receives of an Amazon EventBridge event: a constant text (Input), a part of the event
// (InputPath), or a template filled in with parts of it (InputTransformer). It works as AWS does, down to the text of its error
// messages, and needs nothing but the standard library. It knows nothing of buses, rules and targets.
//
// # Paths
//
// A path names a part of an event. It starts with $, the event itself:
//
//	$.detail.order.total     fields of objects
//	$.resources[0]           an element of an array, counted from 0
//	$.detail.items[*].name   of every element that has it; the result is an array
//
// The name of a field is any text without white space, quotes, and the characters . [ ] ( ) * ? and the comma. As in AWS there is no other way
// to write one, so that a field whose name has a dot cannot be named.
//
// # Templates
//
// In a template, <name> stands for the value at one of the template's paths, or for one of the reserved variables:
//
//	<aws.events.rule-arn>              the rule's ARN
//	<aws.events.rule-name>             the rule's name
//	<aws.events.event.ingestion-time>  when the event was taken, as 2026-09-13T12:17:30.408Z
//	<aws.events.event.json>            the event; only in templates that are JSON objects
//	<aws.events.event>                 the event without its detail, its time in milliseconds, its detail-type named
//	                                   detailType; only in templates that are JSON objects
//
// A template whose first character other than white space is { is a JSON object. In it a string is filled in as JSON: with quotes where the
// placeholder stands for a whole value, escaped where it stands within a string. A path that leads nowhere gives an empty string.
//
// Every other template is text: strings are filled in as they are, without quotes and escapes, objects and arrays with all their
// quotes removed, and nothing where the path leads nowhere. The result must still be one JSON value, or several on lines of their own.
// A usual one is "instance <id> is <state>", with the quotes.
//
// What is filled in is never searched for placeholders.
//
// # Use
//
// Compile an Input once and use the Transform from any number of goroutines.
//
// # Errors and limits
//
// Compile refuses what AWS's PutTargets refuses, with an *Error whose Message is AWS's own. Render returns an *InvalidJSONError with the
// broken text if a filled-in template is not JSON, and an *EventError for an event that it cannot read: one that is not a JSON object,
// or is nested more than MaxDepth levels deep. MaxInput, MaxTemplate, MaxPath and MaxPaths are AWS's limits; MaxBody is our own, and what exceeds it a
// *TooLargeError.
//
// # Where AWS is not certain
//
// AWS does not say which names of fields a path may have; refused are those that its grammar has another meaning for. If [*] meets no
// element with the field, the result is an empty array here. A message's line and column are those where the first token
// starts that is not JSON. A template that is a JSON object must be a single one. White space of a template is kept.
// Where a value of null is filled in within a string it reads null.
package inputtransform
