// Package auth says who calls and what they may do: access keys and roles,
// service clients and their OAuth 2 tokens, resource policies, and the secrets
// that must be kept readable, encrypted at rest.
//
// It verifies no AWS signature (package awsapi does, with the keys from here) and
// knows no resource that it protects.
package auth
