package exporter

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

// Datasource is the User-Agent under which the exporter writes entities: their
// $datasource.
const Datasource = "rialto-exporter/1"

// maxWrite is how many reads are applied in one write.
const maxWrite = 100

// Commit is called by a Sink once it has made changes, with their results, one for each
// change in its order.
type Commit = func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error

// Sink is where entities go.
type Sink interface {
	// Write makes changes, at most a few hundred. Each may fail alone, with the Err of its
	// result. A sink that is transactional calls commit within the transaction that
	// stores the changes, also when there are none, and may do so more than once, as
	// transactions are tried again; an error of commit undoes them. Any other calls it
	// once with a nil transaction after the changes are stored. Write returns
	// the error of commit, or why nothing could be written.
	Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error
	// Transactional says which of the two it is. Where it is not, the exporter stores
	// what it means to write first, so that a crash leaves nothing behind that nobody
	// remembers.
	Transactional() bool
	// Owned yields the entities that the exporter has written to the sink and that were
	// last changed before a time, until yield returns an error, which it returns.
	Owned(ctx context.Context, before time.Time, yield func(catalog.EntityRef) error) error
}
