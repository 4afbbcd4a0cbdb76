package exporter

import (
	"context"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

// product begins the $datasource of all that the exporter writes, and is all of it where
// no account and region is written for. It is not that of Port's exporter, which deletes
// what it has not written itself of what is marked with its name.
const product = "rialto-exporter/1"

// Datasource is the User-Agent under which entities of an account's region are written:
// their $datasource. Port's AWS exporter: in this form, by which its users search.
func Datasource(account, region string) string {
	return product + " (accountid/" + account + " region/" + region + ")"
}

// isOurs: the exporter has written under this $datasource.
func isOurs(datasource string) bool {
	return datasource == product || strings.HasPrefix(datasource, product+" (accountid/")
}

// maxWrite is how many reads are applied in one write.
const maxWrite = 100

// Commit is called by a Sink once it has made changes, with their results, one for each
// change in its order.
type Commit = func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error

// Sink is where entities go.
type Sink interface {
	// Write makes changes, at most a few hundred; that another Datasource of the exporter
	// wrote an entity before is none. Each may fail alone, with the Err of its
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

// Previewer is what a Sink may be besides: it tells what Write would do.
type Previewer interface {
	// Preview returns the results that Write would have, and changes nothing. It takes as
	// many changes.
	Preview(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange) ([]catalog.ChangeResult, error)
}
