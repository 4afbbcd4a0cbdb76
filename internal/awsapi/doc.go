// Package awsapi speaks AWS's wire protocols: it tells services apart, verifies
// signatures, decodes and validates requests, checks the caller's role, calls
// the generated Service that a domain package implements, and writes the answer
// or the error in the caller's protocol.
//
// It knows no service's meaning: what an operation does is in the domain
// packages, what it looks like is in the packages under gen.
package awsapi
