// Package httpapi holds the conventions of Rialto's own REST API under /v1:
// errors, JSON bodies, paging, server-sent events, request ids, and the guard
// that keeps web pages from driving the server.
//
// It knows no resource and no caller: what is served is in the domain packages,
// who may ask is in package auth. AWS's protocols are package awsapi's.
package httpapi
