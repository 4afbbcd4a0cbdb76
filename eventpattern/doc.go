// Package eventpattern compiles Amazon EventBridge event patterns and matches events against them: one pattern, or very
// many at once. It speaks the language as AWS does, down to the text of its error messages, and needs nothing but the
// standard library. It knows nothing of buses, rules and targets.
//
// # Patterns
//
// A pattern is a JSON object that mirrors the event. Each field it names holds a list of alternatives, one of which the event's value
// must satisfy; all fields must be satisfied; fields that are not named do not matter.
//
//	{
//	  "source": ["aws.ec2"],
//	  "detail": {
//	    "state": ["running", "stopped"],
//	    "cpu": [{"numeric": [">", 0, "<=", 80]}]
//	  }
//	}
//
// An alternative is a string, number, true, false or null, which the value must equal, or an object with one operator:
//
//	{"prefix": "ab"}               a string that begins so; {"prefix": {"equals-ignore-case": "AB"}} in any case
//	{"suffix": ".png"}             a string that ends so; likewise with equals-ignore-case
//	{"equals-ignore-case": "ab"}   that string in any case
//	{"wildcard": "a*/c"}           * is any number of any characters; \* and \\ stand for themselves
//	{"anything-but": X}            any value that is not X: a string, a number, a list of either, or
//	                               {"prefix": …}, {"suffix": …}, {"wildcard": …}, {"equals-ignore-case": …} of a string or a list
//	{"numeric": [">", 0, "<", 5]}  a number in that range; =, <, <=, >, >=
//	{"cidr": "10.0.0.0/24"}        a string that is an IPv4 or IPv6 address in that block
//	{"exists": true}               any value at all; false: none
//	{"exactly": "ab"}              that string, even where "ab" would be read as an address
//
// "$or": [{…}, {…}] at any level accepts what any of its objects accepts, together with the fields beside it.
//
// # Values
//
// Strings are compared code point by code point, without normalisation. Numbers are compared as numbers: 300, 300.0 and 3.0e2 are equal.
// A string that is an IP address equals every way to write that address. null is a value; an empty list, an empty
// object and an object as such are not, so {"exists": true} does not accept them. anything-but needs a value, too.
//
// Of a list in the event one element is enough, and lists within lists are as one. Fields of objects in a list are matched together: all
// conditions on them must be satisfied by the same element, at every level of nesting.
//
// A key with dots is a path: {"a.b": ["x"]} and {"a": {"b": ["x"]}} are the same, in patterns and in events. If a pattern has a key
// twice, the last one counts.
//
// # Use
//
// Compile a pattern once and use it from any number of goroutines. Pattern.Match answers yes or no; Pattern.Explain says which conditions
// failed, on which path, on what value of the event, for people (Report.String) and for programs (its JSON).
// A Set matches an event against all its patterns in one reading of the event; it can be changed while it is used, and those
// who match never wait.
//
// # Errors and limits
//
// Compile refuses what AWS refuses with a *SyntaxError, whose text is AWS's without the words "Event pattern is not valid. Reason: " that
// its API puts before it. An event that is not a JSON object, or nested more than MaxEventDepth levels deep, cannot be matched: *EventError.
// The sizes of patterns and events are the caller's to limit. A pattern is refused as too complex if it has too many wildcards by AWS's
// measure, or if its $or lists multiply into more than 1,000 branches.
//
// # Where AWS is not certain
//
// What AWS does with {"exists": false} on a field of objects in a list is not documented; here the field must be missing in every element. An
// empty list below anything-but with an operator is refused; AWS accepts it and then cannot match. Without regard to case, characters beyond
// U+FFFF are compared like all others; AWS cannot match them.
package eventpattern
