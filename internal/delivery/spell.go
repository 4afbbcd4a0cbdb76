package delivery

import (
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/target"
)

// spell is attempts that followed one another and failed alike: with the same code
// and the same HTTP status.
type spell struct {
	Code    string `json:"code"`
	Message string `json:"message"` // of the last of them
	// Status is the HTTP status of the target's answers, 0 without one.
	Status      int       `json:"status,omitempty"`
	Attempts    int       `json:"attempts"`
	First, Last time.Time // when the first and the last of them began
}

const (
	// maxSpells is how many spells of a delivery are kept: the first and the latest.
	maxSpells = 10
	// maxSpellMessage bounds the message of a spell, in bytes.
	maxSpellMessage = 512
)

// withAttempt returns the spells with one more failed attempt. It leaves those that it is
// given as they are: somebody may be storing them.
func withAttempt(spells []spell, at time.Time, f *target.Failure) []spell {
	at = at.UTC().Truncate(time.Millisecond)
	spells = slices.Clone(spells)
	n := len(spells)
	if n == 0 || spells[n-1].Code != f.Code || spells[n-1].Status != f.Status {
		if n == maxSpells {
			spells = slices.Delete(spells, 1, 2)
		}
		spells = append(spells, spell{Code: f.Code, Status: f.Status, First: at})
	}
	last := &spells[len(spells)-1]
	last.Message, last.Last = cleanText(f.Message, maxSpellMessage), at
	last.Attempts++
	return spells
}
