// Package trace answers where an event went: where it entered, which rules matched
// it, which nearly did and why not, each attempt and how every delivery ended. Each
// node records what it does in a Recorder: compact files of its own, bounded,
// written behind the deliveries and never waited for. A Trace is put together from
// what all nodes recorded, the event log while it keeps the event, the rules, and what
// still waits.
//
// It is for people: no delivery depends on it, and where entries were lost a trace
// says so.
package trace
