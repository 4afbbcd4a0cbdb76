package store

import "context"

type bulkKey struct{}

// Bulk returns ctx for work that is in no hurry and comes in many transactions, such as a full
// sync. On SQLite its Updates let those of others go first, which have not to wait for more than one
// of them at a time; enough of others' commits, and one of them comes in between. On PostgreSQL, which
// has many writers, it changes nothing.
func Bulk(ctx context.Context) context.Context { return context.WithValue(ctx, bulkKey{}, true) }

func isBulk(ctx context.Context) bool { return ctx.Value(bulkKey{}) != nil }
