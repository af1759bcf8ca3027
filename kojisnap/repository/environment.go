package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"kojisnap/dbsync/setup"
	"kojisnap/kojisnap/snapfile"
	"kojisnap/kojisnap/store"
)

const environmentPrefix = "environments/"

// maxRecord bounds what a damaged store can make a reader of records hold.
const maxRecord = 1 << 20

// Environment is the record of a staging environment in the store: which snapshot its database holds, and how its last
// sync ended. Its load and its sync write it, for prune and for whoever looks at several environments.
type Environment struct {
	Name string    `json:"environment"`
	Seen time.Time `json:"seen"` // when the record was written
	// What the database holds. Snapshot is empty if no load was recorded yet.
	Snapshot  string    `json:"snapshot,omitempty"`
	Hub       string    `json:"hub,omitempty"` // production's
	Event     int64     `json:"event,omitempty"`
	EventTime time.Time `json:"event_time,omitzero"`
	Tags      []string  `json:"tags,omitempty"`      // as the snapshot was asked for
	LoadTags  []string  `json:"load_tags,omitempty"` // as the load was asked for, if it was of fewer
	Loaded    time.Time `json:"loaded,omitzero"`
	Version   string    `json:"version,omitempty"` // of the kojisnap that loaded
	Pin       int64     `json:"pin,omitempty"`     // the event to pin composes at
	// Clone is the id of the clone of production's tree in which composes are made; empty: there is none.
	Clone string `json:"clone,omitempty"`

	Sync *EnvironmentSync `json:"sync,omitempty"` // the last; nil if only single steps were run
}

// EnvironmentSync is how the last sync of an environment ended.
type EnvironmentSync struct {
	Finished time.Time `json:"finished"`
	// Succeeded is when the last one with exit code 0 ended; zero if none did.
	Succeeded time.Time `json:"succeeded,omitzero"`
	Exit      int       `json:"exit"`
	Error     string    `json:"error,omitempty"` // why that is not 0, in one line
	Only      string    `json:"only,omitempty"`  // the half that it did
	Snapshot  string    `json:"snapshot,omitempty"`
	Version   string    `json:"version,omitempty"` // of kojisnap
	Who       string    `json:"who,omitempty"`     // user@host
	// Checks counts the checks of verify by what they found; nil if there was no verify.
	Checks map[string]int `json:"checks,omitempty"`
}

// UpdateEnvironment changes the record of an environment, and stores it. If there is none that can be read, change
// gets an empty one. Only one process of an environment may do so at a time, or one of two changes may get lost.
func UpdateEnvironment(ctx context.Context, s store.Store, env string, change func(*Environment)) error {
	object, err := environmentObject(environmentPrefix, env)
	if err != nil {
		return err
	}
	var e Environment
	text, err := readRecord(ctx, s, object)
	if err != nil {
		return err
	}
	if json.Unmarshal(text, &e) != nil {
		e = Environment{}
	}
	change(&e)
	e.Name, e.Seen = strings.TrimPrefix(object, environmentPrefix), time.Now().UTC()
	if text, err = json.Marshal(e); err != nil {
		return err
	}
	return s.Put(ctx, object, bytes.NewReader(text))
}

// HoldsNow changes the record after a load of a snapshot. tags are what the load was asked for, if that were
// fewer than the snapshot's.
func (e *Environment) HoldsNow(snap *snapfile.Snapshot, tags []string) {
	m := snap.Whole()
	e.Snapshot, e.Hub, e.Event, e.EventTime, e.Tags, e.LoadTags, e.Loaded = snap.ID, m.Hub, m.Event, m.EventTime, m.Scope.AskedFor(), tags, time.Now().UTC()
}

// Environments returns the records of all environments, by name. Of one that an earlier kojisnap loaded it knows hub,
// event and time only. A record that cannot be read is an error.
func Environments(ctx context.Context, s store.Store) ([]Environment, error) {
	all, err := readEnvironments(ctx, s)
	if err != nil {
		return nil, err
	}
	list := []Environment{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[name])
	}
	return list, nil
}

// readEnvironments returns the records by name. Where an earlier kojisnap loaded since, what it noted counts.
func readEnvironments(ctx context.Context, s store.Store) (map[string]Environment, error) {
	all := map[string]Environment{}
	err := eachRecord(ctx, s, environmentPrefix, func(env string, text []byte) error {
		var e Environment
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		e.Name = env
		all[env] = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	earlier, err := readHeld(ctx, s)
	for env, h := range earlier {
		e := all[env]
		if e.Hub == h.Hub && e.Event == h.Event || e.Loaded.After(h.Loaded) {
			continue
		}
		e.Name, e.Snapshot, e.Hub, e.Event, e.EventTime, e.Tags, e.LoadTags, e.Loaded, e.Version, e.Pin = env, "", h.Hub, h.Event, time.Time{}, nil, nil, h.Loaded, "", 0
		if e.Seen.Before(h.Loaded) {
			e.Seen = h.Loaded
		}
		all[env] = e
	}
	return all, err
}

// eachRecord calls each for the records of environments below a prefix.
func eachRecord(ctx context.Context, s store.Store, prefix string, each func(env string, text []byte) error) error {
	entries, err := s.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, e := range entries {
		env := strings.TrimPrefix(e.Name, prefix)
		if setup.CheckEnvironment(env) != nil {
			continue
		}
		text, err := readRecord(ctx, s, e.Name)
		if err != nil {
			return err
		}
		if text == nil {
			continue // it vanished
		}
		if err := each(env, text); err != nil {
			return fmt.Errorf("%s in %s says what environment %s holds, and cannot be read (%w): remove it, and load again", e.Name, s, env, err)
		}
	}
	return nil
}

// readRecord reads a small object, nil if there is none. Of a longer one than a record is, it reads no more than
// the beginning.
func readRecord(ctx context.Context, s store.Store, object string) ([]byte, error) {
	r, err := openObject(ctx, s, object)
	if err != nil || r == nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxRecord))
}

// needs reports whether the next load of the environment, or whoever asks what it holds, reads a snapshot. A snapshot
// has only the revocations since the snapshot before it, so a load reads all since the one that the database holds.
func (e Environment) needs(snap *snapfile.Snapshot) bool {
	return e.Snapshot == snap.ID || e.Hub == snap.Manifest.Hub && snap.Manifest.Event >= e.Event
}

// neededBy returns the environments that still need a snapshot.
func neededBy(all map[string]Environment, snap *snapfile.Snapshot) []string {
	var envs []string
	for _, env := range slices.Sorted(maps.Keys(all)) {
		if all[env].needs(snap) {
			envs = append(envs, env)
		}
	}
	return envs
}
