package store

import "context"

type bulkKey struct{}

// Bulk returns ctx for work that is in no hurry and comes in many transactions, such as a full
// sync. Its events reach the bus a few milliseconds later, with those of the next transactions. On
// SQLite its Updates let those of others go first, which then wait for no more than one of them. They are
// not put off forever, but what they hold meanwhile, such as locks, they hold for longer.
func Bulk(ctx context.Context) context.Context { return context.WithValue(ctx, bulkKey{}, true) }

func isBulk(ctx context.Context) bool { return ctx.Value(bulkKey{}) != nil }
