package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"kojisnap/kojisnap/store"
)

const pulledPrefix = "pulled/"

// Pulled is how the last pull of a scope ended. The host that pulls stores it, for hosts that only apply what is in the
// store: where nothing happens in production, a new pull makes no new snapshot.
type Pulled struct {
	Hub      string    `json:"hub"`
	Tags     []string  `json:"tags"` // as asked for, sorted
	Finished time.Time `json:"finished"`
	Exit     int       `json:"exit"`
	Error    string    `json:"error,omitempty"` // why there is no new snapshot, in one line
	Version  string    `json:"version,omitempty"`
	Who      string    `json:"who,omitempty"` // user@host
	// Succeeded is when the last pull that has a snapshot ended; that may have left out single rows (exit code 3).
	Succeeded time.Time `json:"succeeded,omitzero"`
	Snapshot  string    `json:"snapshot,omitempty"`
	Event     int64     `json:"event,omitempty"`
}

// pulledObject names the object of a scope.
func pulledObject(hub string, tags []string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{hub}, tags...), "\x00")))
	return pulledPrefix + hex.EncodeToString(sum[:8])
}

// PutPulled stores how a pull ended. If it has no snapshot, that of the last one that has stays on record.
func PutPulled(ctx context.Context, s store.Store, p Pulled) error {
	p.Tags = slices.Compact(slices.Sorted(slices.Values(p.Tags)))
	if p.Snapshot != "" {
		p.Succeeded = p.Finished
	} else if last, err := ReadPulled(ctx, s, p.Hub, p.Tags); err == nil && last != nil {
		p.Succeeded, p.Snapshot, p.Event = last.Succeeded, last.Snapshot, last.Event
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.Put(ctx, pulledObject(p.Hub, p.Tags), bytes.NewReader(text))
}

// ReadPulled returns how the last pull of a scope ended; nil: nobody said. tags are as asked for, sorted.
func ReadPulled(ctx context.Context, s store.Store, hub string, tags []string) (*Pulled, error) {
	object := pulledObject(hub, tags)
	text, err := readRecord(ctx, s, object)
	if err != nil || text == nil {
		return nil, err
	}
	p := &Pulled{}
	if err := json.Unmarshal(text, p); err != nil {
		return nil, fmt.Errorf("%s in %s: %w; remove it, and the next pull writes it anew", object, s, err)
	}
	return p, nil
}
