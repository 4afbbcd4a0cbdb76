package trace

import (
	"context"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// nodeStore knows which nodes may hold entries: each has a lease of its own.
type nodeStore struct{ db *store.DB }

// nodeLease begins the names of those leases; nodeKept is how long a node is asked
// for that is not there any more.
const (
	nodeLease = "trace.node/"
	nodeKept  = 24 * time.Hour
)

// register notes that the node is there.
func (s nodeStore) register(ctx context.Context, node string) error {
	if _, err := s.db.Acquire(ctx, nodeLease+node, node, nodeKept); err != nil {
		return fmt.Errorf("tell other nodes of this one's traces: %w", err)
	}
	return nil
}

// all returns the names of the nodes that registered of late.
func (s nodeStore) all(ctx context.Context, now time.Time) ([]string, error) {
	rows, err := s.db.Query(ctx, `SELECT holder FROM lease WHERE name >= $1 AND name < $2 AND expires_at > $3 ORDER BY name`,
		nodeLease, store.PrefixEnd(nodeLease), now.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list the nodes that trace: %w", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var node string
		if err := rows.Scan(&node); err != nil {
			return nil, fmt.Errorf("list the nodes that trace: %w", err)
		}
		all = append(all, node)
	}
	return all, rows.Err()
}
