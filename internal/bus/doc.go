// Package bus holds event buses and everything that hangs on them: rules,
// targets, permissions, tags, connections and API destinations, their state,
// their validation and their AWS API. Put is the one way in for events, Match
// says which subscriptions an event has.
//
// It does not deliver: package delivery asks Match and invokes targets.
package bus
